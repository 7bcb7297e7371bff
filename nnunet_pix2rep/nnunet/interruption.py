"""Stopping a training between two steps when its process is asked to end, as a cluster does at the time limit."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType

EXIT_CODE = 128 + signal.SIGTERM  # what a shell reports for a process that SIGTERM ended


class TrainingInterrupted(Exception):  # noqa: N818  it is no error
    """SIGTERM was received."""


class SigtermWatch:
    """Notes SIGTERM while the ``with`` block runs, in place of ending the process at once; restores the old handler after.

    Only the main thread of a process may handle signals; elsewhere this does nothing.
    """

    def __init__(self) -> None:
        self.requested = False
        self._previous = None

    def __enter__(self) -> SigtermWatch:
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _note(self, _number: int, _frame: FrameType | None) -> None:
        self.requested = True

    def raise_if_requested(self) -> None:
        """Raises TrainingInterrupted after SIGTERM."""
        if self.requested:
            raise TrainingInterrupted
