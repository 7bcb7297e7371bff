"""The tests for a GPU are sound: their bodies pass on a CPU, and without a GPU they are skipped for one reason."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parent / "gpu"
VARIABLE = "NNUNET_PIX2REP_GPU_TESTS_DEVICE"

pytestmark = pytest.mark.slow


def run_gpu_tests(**variables):
    """Exit code and output of ``pytest -m gpu`` in a process of its own."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-n",
        "0",
        "-m",
        "gpu",
        "-p",
        "no:cacheprovider",
        str(FOLDER),
    ]
    environment = {name: value for name, value in os.environ.items() if name != VARIABLE} | variables
    ended = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment, cwd=FOLDER.parents[1])
    return ended.returncode, ended.stdout


def test_the_bodies_pass_on_a_cpu():
    code, printed = run_gpu_tests(**{VARIABLE: "cpu"})
    assert code == 0, printed[-3000:]
    assert " passed, 1 skipped" in printed


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_all_are_skipped_for_one_reason():
    code, printed = run_gpu_tests()
    assert code == 0, printed[-3000:]
    assert "passed" not in printed
    assert [line for line in printed.splitlines() if line.startswith("SKIPPED")][1:] == []
    assert "torch.cuda.is_available() is False" in printed
