import importlib.util
import os
import random
import zlib
from pathlib import Path

import joblib
import numpy as np
import pytest
import torch

PROJECT_ROOT = Path(__file__).resolve().parents[1]
MOST_WORKERS = 8

# An example of hypothesis may take as long as it likes: how long says something about the machine alone. The tests for
# a GPU (docs/benchmarks/gpu) run without hypothesis.
if importlib.util.find_spec("hypothesis"):
    from hypothesis import settings

    settings.register_profile("no_deadline", deadline=None)
    settings.load_profile("no_deadline")


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config):
    """Tests of folders run in a process for each core, by pytest-xdist; ``-n 0`` or a debugger keeps one process.

    Single files are done before the processes would have started. A file's tests share a process and what they set up.
    Tests for a GPU (``-m gpu``) have the card to themselves.
    """
    is_one_process = config.getoption("numprocesses", 0) is not None or hasattr(config, "workerinput")
    if is_one_process or config.option.usepdb or config.option.collectonly or config.option.markexpr == "gpu":
        return
    if not any(Path(argument.split("::")[0]).is_dir() for argument in config.args):
        return
    config.option.numprocesses = min(joblib.cpu_count(), MOST_WORKERS)
    config.option.dist = "loadfile"
    config.option.loadscopereorder = False
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # the processes would take each other's cores


def pytest_collection_modifyitems(items):
    """Files with slow tests first, so that no process is left with a long one at the end."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """Each test draws the same numbers in every run.

    Its seed is its own: with one for all, a network made by a fixture and one made by a test, or by a training of that
    seed, would have the same random weights.
    """
    seed = zlib.crc32(item.nodeid.encode())
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder with the Sunnybrook and hippocampus data."""
    folder = Path(os.environ.get("PIX2REP_DATA", PROJECT_ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(
            f"real data not found at {folder}: set PIX2REP_DATA to the folder that holds sunnybrook/ and hippocampus/"
        )
    return folder


@pytest.fixture(scope="module")
def worker():
    """Does nnU-Net's commands one after the other in one process."""
    from nnunet_pix2rep.benchmark.execution.in_process.worker import NnunetWorker

    worker = NnunetWorker()
    yield worker
    worker.close()
