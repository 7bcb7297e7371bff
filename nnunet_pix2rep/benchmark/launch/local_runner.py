"""Doing all runs of a benchmark on this machine, several at a time if wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

from nnunet_pix2rep.benchmark.design.runs import BenchmarkRun, PlannedCell
from nnunet_pix2rep.benchmark.execution.in_process.worker import NnunetWorker
from nnunet_pix2rep.benchmark.execution.inherited_locks import HeldError
from nnunet_pix2rep.benchmark.execution.machine import Slot
from nnunet_pix2rep.benchmark.execution.progress import Progress
from nnunet_pix2rep.benchmark.launch.setup import Benchmark
from nnunet_pix2rep.errors import UserError

SECONDS_TO_POLL = 1
SECONDS_BETWEEN_TRIES = 5
Place = tuple[Slot, NnunetWorker | None]


class StopRequested(Exception):  # noqa: N818  not an error
    """The benchmark was interrupted, so its commands are stopped."""


class Runner:
    """Does the runs that are not finished; a cell waits for its pretraining, and a failed run does not stop the others.

    Args:
        benchmark: The benchmark.
        slots: Where runs may be done, one at a time in each.
    """

    def __init__(self, benchmark: Benchmark, slots: Sequence[Slot]):
        self._execute = benchmark.executor.execute
        self._all = benchmark.matrix.runs
        self._pending = [run for run in self._all if not run.is_finished]
        self._free = [(slot, NnunetWorker() if slot.in_process else None) for slot in slots]
        self._workers = [worker for _, worker in self._free if worker is not None]
        self._num_slots = len(slots)
        self._running: dict[Future, tuple[BenchmarkRun, Place]] = {}
        self._not_before: dict[BenchmarkRun, float] = {}
        self._stop = threading.Event()
        self._progress = Progress(self._all, [self._num_epochs(benchmark, run) for run in self._all])
        self.failures: dict[BenchmarkRun, str] = {}

    @staticmethod
    def _num_epochs(benchmark: Benchmark, run: BenchmarkRun) -> int:
        lengths = benchmark.plans.lengths
        return (lengths.of_method(run.method) if isinstance(run, PlannedCell) else lengths.pretraining).num_epochs

    def run(self) -> dict[BenchmarkRun, str]:
        """Runs everything; returns the runs that failed, with the reason.

        When this is interrupted (an exception such as KeyboardInterrupt), the commands under way are stopped first.
        """
        with ExitStack() as stack:
            for worker in self._workers:
                stack.callback(worker.close)
            pool = stack.enter_context(ThreadPoolExecutor(self._num_slots))
            try:
                while self._pending or self._running:
                    self._start(pool)
                    done, _ = wait(self._running, SECONDS_TO_POLL, FIRST_COMPLETED)
                    if not self._running:
                        time.sleep(SECONDS_TO_POLL)
                    for future in done:
                        self._finish(future)
                    running = [run for run, _ in self._running.values()]
                    self._progress.update(running, sum(run.is_finished for run in self._all))
            except BaseException:
                self._stop.set()
                raise
            finally:
                self._progress.close()
        return self.failures

    def _start(self, pool: ThreadPoolExecutor) -> None:
        for run in list(self._pending):
            if not self._free:
                return
            if self._is_blocked(run) or time.monotonic() < self._not_before.get(run, 0):
                continue
            self._pending.remove(run)
            slot, worker = self._free.pop(0)
            run_a_command = None if worker is None else worker.run
            future = pool.submit(self._execute, run, slot, self._watch, run_a_command)
            self._running[future] = (run, (slot, worker))

    def _is_blocked(self, run: BenchmarkRun) -> bool:
        needed = run.prerequisites if isinstance(run, PlannedCell) else ()
        waiting = [pretraining for pretraining in needed if not pretraining.is_finished]
        failed = [pretraining.title for pretraining in waiting if pretraining in self.failures]
        if failed:
            self._pending.remove(run)
            self._fail(run, f"its {failed[0]} failed")
        return bool(waiting)

    def _finish(self, future: Future) -> None:
        run, place = self._running.pop(future)
        self._free.append(place)
        try:
            future.result()
        except HeldError as error:
            if run not in self._not_before:
                self._progress.say(f"{run.title}: {error} is at it already; waiting for it.")
            self._not_before[run] = time.monotonic() + SECONDS_BETWEEN_TRIES
            self._pending.append(run)
        except UserError as error:
            self._fail(run, str(error))

    def _fail(self, run: BenchmarkRun, reason: str) -> None:
        self.failures[run] = reason
        self._progress.say(f"FAILED: {run.title}: {reason}")

    def _watch(self) -> None:
        if self._stop.is_set():
            raise StopRequested
