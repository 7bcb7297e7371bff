"""What only a GPU does: AMP, torch.compile, waiting for the device, its memory. Skipped without one.

``NNUNET_PIX2REP_GPU_TESTS_DEVICE=cpu`` runs the same bodies on the CPU. That shows that the tests themselves are sound
and nothing about GPUs: AMP is bfloat16 throughout and without nnU-Net's gradient scaler, and nnU-Net's fine-tuning step
has none; torch.compile generates no code (``aot_eager``), but finds graph breaks and recompilations; the allocator's
error is raised by hand; and what CUDA alone has (its report of waiting, pinned memory, events) is not looked at.
"""

import os

import pytest
import torch
from tiny_training import make_tiny_dataset, prepare_for_training

DEVICE_VARIABLE = "NNUNET_PIX2REP_GPU_TESTS_DEVICE"
DEVICE = torch.device(os.environ.get(DEVICE_VARIABLE, "cuda"))


def pytest_runtest_setup(item):
    """Skips here, and not in a fixture, so that the summary has one line for all tests."""
    if DEVICE.type == "cuda" and not torch.cuda.is_available():
        pytest.skip(f"no GPU: torch.cuda.is_available() is False ({DEVICE_VARIABLE}=cpu tries the tests on the CPU)")


@pytest.fixture(scope="session")
def device():
    """The device that is tested."""
    return DEVICE


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory):
    """A preprocessed dataset for real trainings of a second; not to be changed."""
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny_gpu"), configurations=("2d", "3d_fullres"))


@pytest.fixture
def tiny(tiny_dataset, tmp_path, monkeypatch):
    """The tiny dataset with nnU-Net's variables set; networks are not compiled, which would take most of the time."""
    prepare_for_training(monkeypatch, tiny_dataset, tmp_path)
    monkeypatch.setenv("nnUNet_compile", "f")
    return tiny_dataset
