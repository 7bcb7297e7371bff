"""A folder in which one demo works at a time, and which holds nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_pix2rep.benchmark.execution.inherited_locks import HeldError, held_lock
from nnunet_pix2rep.demo.stages import RECORD_FILE
from nnunet_pix2rep.errors import UserError

LOCK_FILE = ".demo.lock"


@contextmanager
def only_demo(folder: Path) -> Iterator[int]:
    """Makes a folder where it is missing, and keeps other demos out of it while the block runs (not on Windows).

    Args:
        folder: A new or empty folder, or one of an earlier demo.

    Yields:
        The lock, an open file. Commands that inherit it keep the folder locked even if this process is killed.

    Raises:
        UserError: the folder holds something else, or another demo is working in it.
    """
    _require_own(folder)
    try:
        with held_lock(folder / LOCK_FILE) as lock:
            yield lock
    except HeldError as error:
        raise UserError(
            f"Another demo is working in {folder} ({error}). Choose another folder with --output, or wait until that "
            "one has ended."
        ) from None


def _require_own(folder: Path) -> None:
    if (folder / RECORD_FILE).is_file() or not folder.exists():
        return
    if not folder.is_dir() or any(path.name != LOCK_FILE for path in folder.iterdir()):
        raise UserError(
            f"{folder} holds files, but no {RECORD_FILE} of an earlier run. Choose another folder with --output."
        )
