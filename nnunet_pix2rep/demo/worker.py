"""The process that does all commands of the demo, one after the other: ``python -m nnunet_pix2rep.demo.worker FILE``.

Every command imports torch and nnU-Net, which takes several seconds each time. FILE is the number of the open file by
which the process is told what to do, see :mod:`nnunet_pix2rep.benchmark.execution.in_process`.
"""

from __future__ import annotations

import runpy
import sys
from multiprocessing.connection import Connection

from nnunet_pix2rep.benchmark.execution.in_process.server import serve
from nnunet_pix2rep.nnunet.subprocesses import Command

COMMAND_LINE = "nnunet_pix2rep.cli.main"


def run_here(command: Command) -> None:
    """Runs ``python -m MODULE ...`` and ``nnunet_pix2rep ...`` as Python would, and nnU-Net's commands by its classes.

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
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, run_name="__main__")
    except SystemExit as end:
        if end.code:
            raise


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])), run_here)
