import shutil

import pytest
from fake_nnunet import FakeNnunet
from planned_dataset import environment_of
from tiny_training import CASES, DATASET, PLANS, make_tiny_dataset

from nnunet_pix2rep.benchmark.design.settings import BenchmarkSettings
from nnunet_pix2rep.benchmark.execution import executor
from nnunet_pix2rep.benchmark.launch.setup import set_up


@pytest.fixture(scope="session")
def tiny_benchmark_dataset(tmp_path_factory):
    """A preprocessed dataset of six patients; not to be changed."""
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny_benchmark"))


@pytest.fixture
def dataset(tiny_benchmark_dataset, monkeypatch):
    """The same with nnU-Net's variables set."""
    root = tiny_benchmark_dataset.parents[1]
    with environment_of(root):
        monkeypatch.delenv("nnUNet_results")
        yield tiny_benchmark_dataset


@pytest.fixture
def own_dataset(dataset, tmp_path, monkeypatch):
    """A copy that a test may change."""
    root = tmp_path / "user"
    shutil.copytree(dataset.parents[1], root)
    monkeypatch.setenv("nnUNet_raw", str(root / "nnUNet_raw"))
    monkeypatch.setenv("nnUNet_preprocessed", str(root / "nnUNet_preprocessed"))
    return root / "nnUNet_preprocessed" / DATASET


@pytest.fixture
def other_patients(dataset, tmp_path):
    """Two test cases of other patients, named as in nnU-Net."""
    raw = dataset.parents[1] / "nnUNet_raw" / DATASET
    folder = tmp_path / "test"
    for number in range(2):
        for kind, end in (("images", "_0000"), ("labels", "")):
            target = folder / f"{kind}Ts" / f"new_{number}{end}.nii.gz"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(raw / f"{kind}Tr" / f"{CASES[number]}{end}.nii.gz", target)
    return folder


@pytest.fixture
def settings():
    """Makes settings for that dataset."""

    def make(**changes):
        given = {"methods": ("scratch", "pix2rep"), "shots": (1,), "seeds": 1, "test": 2} | changes
        return BenchmarkSettings(DATASET, "2d", PLANS, **given)

    return make


@pytest.fixture
def fake(monkeypatch):
    """Stands for nnU-Net's commands."""
    fake = FakeNnunet()
    monkeypatch.setattr(executor, "run_command", fake)
    return fake


@pytest.fixture
def make(dataset, settings, tmp_path):
    """Sets a benchmark up, with settings changed."""
    return lambda **changes: set_up(tmp_path / "out", settings(**changes))
