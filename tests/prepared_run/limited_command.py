"""Commands that are asked to end when their time is over, and that leave nothing running."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS_TO_LOOK = 0.2
PRCTL = ctypes.CDLL(None).prctl if sys.platform == "linux" else None
SIGNAL_OF_PARENTS_DEATH = 1  # prctl's PR_SET_PDEATHSIG
COULD_NOT_START = 127  # what a shell reports for a program that it does not find


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        exit_code: As ``subprocess`` has it: negative after a signal.
        seconds: How long it ran.
        was_stopped: Whether it was asked to end.
    """

    exit_code: int
    seconds: float
    was_stopped: bool


def run_limited(
    command: Sequence[str],
    log_file: Path,
    environment: Mapping[str, str],
    seconds: float,
    *,
    stop_when: Callable[[], bool] = lambda: False,
    stop_signal: signal.Signals = signal.SIGTERM,
    grace: float = 30.0,
) -> Ended:
    """Runs a command for some seconds at most, its output at the end of a log file.

    What it started in its session is killed when it has ended. Where this process is killed, it gets SIGTERM (on
    Linux).

    Args:
        command: The program and its arguments; ``python`` is this interpreter.
        log_file: Gets the command and what it prints.
        environment: All its environment variables.
        seconds: After these it gets the signal.
        stop_when: Asked several times a second; once True, the command gets the signal.
        stop_signal: Asks the command, and only its own process, to end.
        grace: After as many seconds more, it is killed.
    """
    start = time.perf_counter()
    arguments = [sys.executable if part == "python" else part for part in command]
    with log_file.open("a", encoding="utf-8") as log:
        print(f"$ {' '.join(command)}", file=log, flush=True)
        try:
            process = subprocess.Popen(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,
                preexec_fn=_end_with_parent if PRCTL else None,
            )
        except OSError as error:
            print(error, file=log)
            return Ended(COULD_NOT_START, time.perf_counter() - start, False)
        try:
            was_stopped = not _ends_by_itself(process, start + seconds, stop_when)
            if was_stopped:
                process.send_signal(stop_signal)
                _ends_by_itself(process, time.perf_counter() + grace, lambda: False)
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing is left
                os.killpg(process.pid, signal.SIGKILL)
            exit_code = process.wait()
    return Ended(exit_code, time.perf_counter() - start, was_stopped)


def _end_with_parent() -> None:
    PRCTL(SIGNAL_OF_PARENTS_DEATH, signal.SIGTERM)


def _ends_by_itself(process: subprocess.Popen, deadline: float, stop_when: Callable[[], bool]) -> bool:
    while process.poll() is None:
        if time.perf_counter() >= deadline or stop_when():
            return False
        time.sleep(SECONDS_TO_LOOK)
    return True
