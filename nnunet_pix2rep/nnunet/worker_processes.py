"""Many tasks of one kind in worker processes, with a progress bar; one process at a time in a folder."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout
from tqdm import tqdm

from nnunet_pix2rep.errors import UserError

Task = TypeVar("Task")
Result = TypeVar("Result")


def run_in_processes(
    function: Callable[[Task], Result], tasks: Sequence[Task], num_processes: int, description: str
) -> Iterator[Result]:
    """Yields the result of each task as it is done, in any order.

    Args:
        function: A function that worker processes can import.
        tasks: Its arguments.
        num_processes: Worker processes; with 1, everything runs in this process.
        description: For the progress bar.

    Raises:
        UserError: a worker was killed.
    """
    show = {"desc": description, "unit": "case", "total": len(tasks), "disable": not tasks}
    num_processes = min(num_processes, len(tasks))
    if num_processes <= 1:
        yield from map(function, tqdm(tasks, **show))
        return
    # spawn, as nnU-Net does: forked processes may hang in libraries that have threads
    with ProcessPoolExecutor(num_processes, mp_context=multiprocessing.get_context("spawn")) as executor:
        running = [executor.submit(function, task) for task in tasks]
        try:
            for future in tqdm(as_completed(running), **show):
                yield future.result()
        except BrokenProcessPool as error:
            raise UserError(
                "A worker process was killed, most likely for lack of memory. Run the same command again with fewer "
                "processes (-np 1); what is done is kept."
            ) from error
        finally:
            executor.shutdown(cancel_futures=True)


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Makes a folder and keeps other processes that ask for it out of it while the block runs.

    Raises:
        UserError: another process is in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder.with_name(f".{folder.name}.lock"))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"Another process is writing to {folder}. Wait for it to end.") from None
    try:
        yield
    finally:
        with suppress(PermissionError):  # Windows deletes no open file
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
