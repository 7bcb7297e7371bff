"""The process of a worker: ``python -m nnunet_pix2rep.benchmark.execution.in_process FILE``.

FILE is the number of the open file by which it is told what to do.
"""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection

from nnunet_pix2rep.benchmark.execution.in_process.server import serve
from nnunet_pix2rep.nnunet.subprocesses import Command


def _run(command: Command) -> None:
    from nnunet_pix2rep.benchmark.execution.in_process.nnunet_calls import run_in_this_process

    run_in_this_process(command)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])), _run)
