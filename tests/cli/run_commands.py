"""Runs commands of this package and notes how each ends: ``python run_commands.py``.

Reads a JSON list of argument lists from standard input, writes a list of {exit_code, out, err} as the last line of
standard output.
One process for all commands, since importing torch and nnU-Net takes seconds.
"""

import contextlib
import io
import json
import sys
import traceback

from nnunet_pix2rep.cli.main import main


def run(arguments):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            exit_code = main(arguments)
        except SystemExit as error:
            exit_code = error.code
        except BaseException:
            traceback.print_exc()
            exit_code = None
    return {"exit_code": exit_code, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    results = [run(arguments) for arguments in json.load(sys.stdin)]
    json.dump(results, sys.stdout)
