"""The host never waits for the GPU within a pretraining step, so that it can prepare the next one meanwhile."""

import warnings
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from gpu_training import CONFIGURATIONS, PRETRAINERS, Finetune, first_batch, initialized, pinned

import nnunet_pix2rep

pytestmark = pytest.mark.gpu

WARM_UP = 3  # the scaler puts its scale onto the device in the first step


@contextmanager
def report_of_waiting(device, mode):
    """CUDA's own report of operations that make the host wait; nothing on a CPU."""
    if device.type != "cuda":
        yield
        return
    torch.cuda.set_sync_debug_mode(mode)
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("loss", PRETRAINERS)
def test_a_pretraining_step_does_not_wait(tiny, device, loss, configuration):
    trainer = initialized(PRETRAINERS[loss], tiny, device, configuration)
    batch = pinned(first_batch(trainer), device)
    for _ in range(WARM_UP):
        trainer.train_step(batch)
    with report_of_waiting(device, "error"):
        outputs = [trainer.train_step(batch) for _ in range(2)]
    assert all(output["loss"].isfinite() for output in outputs)


def test_a_fine_tuning_step_waits_where_nnunet_does_and_nowhere_else(tiny, device):
    """nnU-Net's step copies its loss to the host, and torch's scaler looks for infinities before SGD; both stay."""
    trainer = initialized(Finetune, tiny, device)
    batch = pinned(first_batch(trainer), device)
    for _ in range(WARM_UP):
        trainer.train_step(batch)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with report_of_waiting(device, "warn"):
            trainer.train_step(batch)
    waiting = [warning for warning in caught if "synchroniz" in str(warning.message)]
    assert len(waiting) > 0 or device.type != "cuda"
    package = Path(nnunet_pix2rep.__file__).parent
    assert [warning.filename for warning in waiting if Path(warning.filename).is_relative_to(package)] == []


def test_waiting_is_reported(device):
    if device.type != "cuda":
        pytest.skip("CUDA's report of waiting needs CUDA")
    values = torch.ones(3, device=device)
    with report_of_waiting(device, "error"), pytest.raises(RuntimeError, match="synchroniz"):
        values.sum().item()
