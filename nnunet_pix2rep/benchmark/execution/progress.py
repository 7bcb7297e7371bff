"""How far a benchmark is, and the time left."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from tqdm import tqdm

from nnunet_pix2rep.benchmark.design.runs import BenchmarkRun

EPOCH = re.compile(rb": Epoch (\d+)\s*$", re.MULTILINE)  # nnUNetTrainer.on_epoch_start, nnunetv2 2.8.1
END_OF_LOG = 20000


def epochs_begun(log_file: Path) -> int:
    """The number of the epoch that nnU-Net printed last, counted from 0, which is how many are done."""
    if not log_file.is_file():
        return 0
    with log_file.open("rb") as file:
        file.seek(max(0, log_file.stat().st_size - END_OF_LOG))
        epochs = EPOCH.findall(file.read())
    return int(epochs[-1]) if epochs else 0


class Progress:
    """A bar in training steps, since runs differ in length; the time left follows from the steps of this session.

    Args:
        runs: All runs.
        num_epochs: Epochs of each.
    """

    def __init__(self, runs: Sequence[BenchmarkRun], num_epochs: Sequence[int]):
        self._epochs = dict(zip(runs, num_epochs, strict=True))
        done = sum(run.iterations if run.is_finished else self._steps(run) for run in runs)
        self._bar = tqdm(total=sum(run.iterations for run in runs), initial=done, unit="step", smoothing=0)
        self._shown: tuple[int, int, list[str]] | None = None
        self._runs = runs

    def _steps(self, run: BenchmarkRun) -> int:
        epochs = self._epochs[run]
        return round(run.iterations * min(epochs_begun(run.log_file), epochs) / epochs)

    def update(self, running: Iterable[BenchmarkRun], num_finished: int) -> None:
        """Shows the state of the runs that are under way."""
        names = [run.title for run in running]
        steps = sum(run.iterations if run.is_finished else self._steps(run) for run in self._runs)
        state = (steps, num_finished, names)
        if state == self._shown and not sys.stderr.isatty():
            return  # a log file would get a line every second
        self._shown = state
        self._bar.set_description(f"{num_finished}/{len(self._runs)} runs", refresh=False)
        self._bar.set_postfix_str("; ".join(names), refresh=False)
        self._bar.n = max(self._bar.n, steps)
        self._bar.refresh()

    def say(self, text: str) -> None:
        """Prints a line above the bar."""
        self._bar.write(text)

    def close(self) -> None:
        """Leaves the bar as it is."""
        self._bar.close()
