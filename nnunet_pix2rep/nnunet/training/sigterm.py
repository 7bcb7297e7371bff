"""Stopping a training between two steps when its process is asked to end, as a cluster does at the time limit."""

from __future__ import annotations

import mmap
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pix2rep.nnunet.checkpoints.files import LATEST, write_checkpoint

EXIT_CODE = 128 + signal.SIGTERM  # what a shell reports for a process that SIGTERM ended


class TrainingInterrupted(Exception):  # noqa: N818  not an error
    """SIGTERM was received."""


class SigtermWatch:
    """Notes SIGTERM while the ``with`` block runs, in place of ending the process; restores the old handler after.

    Clusters send SIGTERM to worker processes as well. Those that are forked in the block outlast it as long as the
    block runs, since batchgenerators waits forever for a worker that ends at the wrong moment. After the block, or
    without the process that forked them, SIGTERM ends them, on which multiprocessing relies when the interpreter exits.

    Only the main thread of a process may handle signals; elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous: Callable[[int, FrameType | None], Any] | int | None = None
        self._process = os.getpid()
        self._is_running = mmap.mmap(-1, 1)  # memory shared with forked processes

    def __enter__(self) -> SigtermWatch:
        self._process = os.getpid()
        self._is_running[0] = True
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._is_running[0] = False
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if os.getpid() == self._process:
            self.requested = True
        elif not self._is_running[0] or os.getppid() != self._process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def raise_if_requested(self) -> None:
        """Raises TrainingInterrupted after SIGTERM."""
        if self.requested:
            raise TrainingInterrupted


def save_interrupted(
    trainer: nnUNetTrainer, checkpoint_content: Callable[[int], dict[str, Any]], has_started: bool
) -> None:
    """Saves a training between two steps of an epoch, which is then run again.

    Args:
        trainer: The training.
        checkpoint_content: What to save, given the epoch to go on with.
        has_started: Whether there is anything to save.
    """
    path = Path(trainer.output_folder) / LATEST
    if trainer.disable_checkpointing or not has_started:
        trainer.print_to_log_file("SIGTERM: stopping, nothing to save")
    elif not all(parameter.isfinite().all() for parameter in trainer.network.parameters()):
        trainer.print_to_log_file("SIGTERM: stopping; the weights are not finite, so the last checkpoint stays")
    else:
        write_checkpoint(checkpoint_content(trainer.current_epoch), path)
        trainer.print_to_log_file(f"SIGTERM: saved {path}; go on with --c. Epoch {trainer.current_epoch} is run again.")
