"""A disk that is full, for libraries that write without Python's files."""

from contextlib import contextmanager

import pytest


@contextmanager
def no_file_beyond(num_bytes):
    """Lets writing fail at a size, as a full disk does; skips a test where the system has no such limit."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
