"""The worker's side of :mod:`nnunet_pix2rep.benchmark.execution.in_process.worker`.

This module imports neither torch nor nnU-Net: both read the environment when they are imported, and the first command
brings it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle

from nnunet_pix2rep.nnunet.subprocesses import Command

STANDARD_OUTPUT, STANDARD_ERROR = 1, 2


@dataclass(frozen=True)
class Request:
    """A command to do.

    Attributes:
        command: The program and its arguments.
        environment: All environment variables.
        num_locks: How many open files follow the log, which the worker keeps open while the command runs.
    """

    command: Command
    environment: Mapping[str, str]
    num_locks: int


def serve(connection: Connection, run: Callable[[Command], None]) -> None:
    """Does the commands that come in, until whoever sends them is gone.

    An exception of a command ends the process as it would end that of the command: its state is not to be trusted with
    another one.

    Args:
        connection: Brings a :class:`Request` and after it the log and the locks, as open files; gets True for each
            command that is done.
        run: Does a command.
    """
    while True:
        try:
            request = connection.recv()
        except EOFError:
            return
        log, *locks = [recv_handle(connection) for _ in range(1 + request.num_locks)]
        for output in (STANDARD_OUTPUT, STANDARD_ERROR):
            os.dup2(log, output)
        os.close(log)
        os.environ.clear()
        os.environ.update(request.environment)
        run(request.command)
        sys.stdout.flush()
        sys.stderr.flush()
        for lock in locks:
            os.close(lock)
        try:
            connection.send(True)
        except BrokenPipeError:
            return
