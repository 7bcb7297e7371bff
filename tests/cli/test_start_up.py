import subprocess
import sys

import pytest

from nnunet_pix2rep.cli.main import SUBCOMMANDS

SLOW_TO_IMPORT = ("torch", "nnunetv2", "numpy", "scipy", "matplotlib", "SimpleITK")
REPORT = f"""
import runpy, sys
sys.argv = ["nnunet_pix2rep", *sys.argv[1:]]
try:
    runpy.run_module("nnunet_pix2rep.cli.main", run_name="__main__")
except SystemExit as end:
    assert not end.code, end.code
print("LOADED", [name for name in {SLOW_TO_IMPORT} if name in sys.modules])
"""


@pytest.mark.parametrize("options", [["--help"], ["--version"], ["trainers"]])
def test_what_needs_no_torch_does_not_load_it(options):
    done = subprocess.run([sys.executable, "-c", REPORT, *options], check=True, capture_output=True, encoding="utf-8")
    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_the_help_of_no_command_loads_torch():
    script = f"""
import contextlib, io, sys
from nnunet_pix2rep.cli.main import main
for command in {SUBCOMMANDS}:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main([command, "--help"])
print("LOADED", [name for name in {SLOW_TO_IMPORT} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, encoding="utf-8")
    assert done.stdout.splitlines()[-1] == "LOADED []"
