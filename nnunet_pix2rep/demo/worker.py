"""The process that does all commands of the demo, one after the other: ``python -m nnunet_pix2rep.demo.worker FILE``.

Every command imports torch and nnU-Net, which takes several seconds each time. FILE is the number of the open file by
which the process is told what to do, see :mod:`nnunet_pix2rep.benchmark.execution.in_process`. Unlike a worker of the
benchmark, it ends with the demo: a command that it finished alone would be done again when the demo goes on.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection

from nnunet_pix2rep.benchmark.execution.in_process.server import serve
from nnunet_pix2rep.nnunet.subprocesses import SECONDS_TO_STOP, SECONDS_TO_WATCH, Command

COMMAND_LINE = "nnunet_pix2rep.cli.main"  # by its name, since it is above this module: it imports the demo


def run_here(command: Command) -> None:
    """Calls what ``nnunet_pix2rep ...`` and ``python -m MODULE ...`` call, and nnU-Net's commands by its classes.

    Args:
        command: A module has a function ``main`` that takes the arguments and returns the exit code.

    Raises:
        SystemExit: the command failed.
    """
    program, *arguments = command
    if program == "python":
        _, module, *arguments = arguments
    elif program == "nnunet_pix2rep":
        module = COMMAND_LINE
    else:
        from nnunet_pix2rep.benchmark.execution.in_process.nnunet_calls import run_in_this_process

        run_in_this_process(command)
        return
    exit_code = importlib.import_module(module).main(arguments)
    if exit_code:
        sys.exit(exit_code)


@contextmanager
def ends_with_demo(connection: Connection) -> Iterator[None]:
    """Ends this process and those that it started, should the demo close the connection while the block runs.

    Args:
        connection: To the demo; the system closes its end when it is killed.
    """
    done = threading.Event()
    threading.Thread(target=_watch, args=(connection, done), daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _watch(connection: Connection, done: threading.Event) -> None:
    closed = select.poll()  # reads nothing: that is for the thread that serves
    closed.register(connection.fileno(), select.POLLHUP)
    while not done.wait(SECONDS_TO_WATCH):
        if closed.poll(0) and not done.is_set():
            # The worker leads a process group of its own.
            os.killpg(os.getpgrp(), signal.SIGTERM)
            time.sleep(SECONDS_TO_STOP)  # a training ends in order
            os.killpg(os.getpgrp(), signal.SIGKILL)


def main() -> None:
    """Serves the demo."""
    connection = Connection(int(sys.argv[1]))

    def run(command: Command) -> None:
        with ends_with_demo(connection):
            run_here(command)

    serve(connection, run)


if __name__ == "__main__":
    main()
