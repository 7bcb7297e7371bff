"""Locks that a command holds on to when the process that started it is killed.

A benchmark that is killed leaves its trainings running; one that is started again must not train into the same folder.
So a lock is an open file that the command inherits: the system lets go of it when the last process that has it open is
gone. (The locks of filelock, which this package uses elsewhere, end with the process that took them.)
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows: two benchmarks in one folder are not kept apart there
    fcntl = None  # type: ignore[assignment]


class HeldError(Exception):
    """Another process holds the lock; the message says which."""


@contextmanager
def held_lock(path: Path) -> Iterator[int]:
    """Holds a lock without waiting for it; yields the open file, for the commands to inherit.

    Raises:
        HeldError: it is held already.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        if not _try_lock(file):
            raise HeldError(path.read_text(encoding="utf-8") or "another process")
        os.ftruncate(file, 0)
        os.write(file, f"process {os.getpid()} on {platform.node()}".encode())
        yield file
    finally:
        os.close(file)


def is_held(path: Path) -> bool:
    """Whether any process holds the lock."""
    if not path.exists():
        return False
    file = os.open(path, os.O_RDWR)
    try:
        return not _try_lock(file)
    finally:
        os.close(file)


def _try_lock(file: int) -> bool:
    if fcntl is None:
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
