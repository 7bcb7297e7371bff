"""Many tasks of one kind in worker processes, with a progress bar."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

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
                "A worker process was killed, most likely for want of memory. Run the same command again with fewer "
                "processes (-np 1); what is done is kept."
            ) from error
        finally:
            executor.shutdown(cancel_futures=True)
