"""A process that does one of nnU-Net's commands after the other, so that it starts up once.

Starting takes most of the time of a short training: every nnU-Net command imports torch and nnU-Net, and so does every
process of the pools in which it exports and evaluates predictions. A worker is a process of its own and not the
benchmark's, because nnU-Net reads environment variables, sets torch's threads and may run out of memory.
"""

from __future__ import annotations

import multiprocessing
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import send_handle
from pathlib import Path
from typing import TextIO

from nnunet_pix2rep.benchmark.execution.in_process.server import Request
from nnunet_pix2rep.nnunet.subprocesses import (
    SECONDS_TO_STOP,
    SECONDS_TO_WATCH,
    Command,
    failure_of,
    same_package,
    shell_text,
    stop_process,
)

SECONDS_TO_END = 60  # an interpreter with torch and nnU-Net in it, on a busy machine
PROGRAM = (sys.executable, "-m", "nnunet_pix2rep.benchmark.execution.in_process")


@dataclass(frozen=True)
class _Running:
    """A process that serves, and the line to it."""

    process: subprocess.Popen
    connection: Connection

    def do(self, request: Request, files: Sequence[int], watch: Callable[[], None]) -> bool:
        """Whether a command came to its end; otherwise the process has ended.

        Args:
            request: The command.
            files: Its log and the locks, open files.
            watch: Called about once a second.
        """
        try:
            self.connection.send(request)
            for file in files:
                send_handle(self.connection, file, self.process.pid)
            while not self.connection.poll(SECONDS_TO_WATCH):
                watch()
            return self.connection.recv()
        except (EOFError, ConnectionError):
            return False

    def stop(self, seconds: float) -> int:
        """Ends the process and its workers, at the latest after some seconds; returns its exit code."""
        self.connection.close()
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            stop_process(self.process)
            return self.process.returncode


class NnunetWorker:
    """Does commands as :func:`nnunet_pix2rep.nnunet.subprocesses.run_command` does, in one process.

    The process starts with the first command, in its environment and on the cores of the calling thread. After a
    command that failed or was stopped the next one gets a new process. If only the process that uses the worker is
    killed, the command under way runs to its end, and the worker ends after it.

    Args:
        program: What serves; gets the number of an open file as its last argument.
    """

    def __init__(self, program: Sequence[str] = PROGRAM):
        self._program = program
        self._running: _Running | None = None

    def run(
        self,
        command: Command,
        log_file: Path,
        environment: Mapping[str, str],
        watch: Callable[[], None] = lambda: None,
        inherited_files: Sequence[int] = (),
    ) -> float:
        """Does a command; arguments, result and errors are those of ``run_command``."""
        log_file.parent.mkdir(parents=True, exist_ok=True)
        start = time.perf_counter()
        with log_file.open("a", encoding="utf-8") as log:
            print(f"$ {shell_text(command)}", file=log, flush=True)
            if self._running is None:
                self._running = self._start(environment, log)
            request = Request(command, dict(environment), len(inherited_files))
            try:
                is_done = self._running.do(request, [log.fileno(), *inherited_files], watch)
            except BaseException:
                self._stop()
                raise
        if not is_done:
            # It is about to end by itself, with the exit code that tells why.
            raise failure_of(command, self._stop(SECONDS_TO_END), log_file)
        return time.perf_counter() - start

    def close(self) -> None:
        """Ends the process."""
        self._stop(SECONDS_TO_STOP)

    def _start(self, environment: Mapping[str, str], log: TextIO) -> _Running:
        connection, theirs = multiprocessing.Pipe()
        with theirs:
            # A session of its own, so that its workers can be stopped with it.
            process = subprocess.Popen(
                [*self._program, str(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**environment, **same_package()},
                start_new_session=True,
                pass_fds=[theirs.fileno()],
            )
        return _Running(process, connection)

    def _stop(self, seconds: float = SECONDS_TO_WATCH) -> int:
        running, self._running = self._running, None
        return 0 if running is None else running.stop(seconds)
