"""The process that does all commands of the demo, one after the other: ``python -m nnunet_pix2rep.demo.worker FILE``.

Every command imports torch and nnU-Net, which takes several seconds each time. FILE is the number of the open file by
which the process is told what to do, see :mod:`nnunet_pix2rep.benchmark.execution.in_process`.
"""

from __future__ import annotations

import importlib
import sys
from multiprocessing.connection import Connection

from nnunet_pix2rep.benchmark.execution.in_process.server import serve
from nnunet_pix2rep.nnunet.subprocesses import Command

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


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])), run_here)
