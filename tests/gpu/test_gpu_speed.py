"""What ``nnunet_pix2rep speed`` measures on a GPU: events, and whether the loader feeds the device."""

import time

import pytest
import torch
from tiny_training import PLANS

from nnunet_pix2rep.nnunet.training.nnunet_private import stop_workers
from nnunet_pix2rep.speed.measurements.pretraining import measure_pretraining
from nnunet_pix2rep.speed.subjects.trainers import PRETRAINERS, PlannedDataset, make_trainer
from nnunet_pix2rep.speed.timing.timer import CudaEventTimer, HostTimer, make_timer

pytestmark = pytest.mark.gpu

CYCLES = 100_000_000  # some 50 ms of a GPU of 2 GHz


def test_events_take_the_time_of_the_device(device):
    timer = make_timer(device)
    if device.type != "cuda":
        assert isinstance(timer, HostTimer)
        return
    assert isinstance(timer, CudaEventTimer)
    start = time.perf_counter()
    taken = timer.seconds(lambda: torch.cuda._sleep(CYCLES))
    assert 0.005 < taken < time.perf_counter() - start
    assert timer.seconds(lambda: None) < taken / 10


def test_workers_hand_over_pinned_batches(tiny, device, monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    trainer = make_trainer(PRETRAINERS["barlow_twins"], PlannedDataset(tiny, PLANS, "2d"), device)
    training, validation = trainer.get_dataloaders()
    try:
        batch = next(training)
        assert batch["images"].is_pinned() == batch["points"].is_pinned() == (device.type == "cuda")
        assert torch.isfinite(trainer.train_step(batch)["loss"])
    finally:
        stop_workers(training, validation)


def test_seconds_waited_per_step_and_workers_needed_are_measured(tiny, device, monkeypatch, record_property):
    """Of a tiny network, which any loader starves: the figures that count are those of ``nnunet_pix2rep speed``."""
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    dataset = PlannedDataset(tiny, PLANS, "2d")
    row = measure_pretraining(
        "tiny", dataset, {}, repetitions=2, num_batches=4, timer=make_timer(device), device=device
    )
    loader = row["loader"]
    record_property("seconds_waited_per_step", loader["seconds_waited_per_step"])
    assert 0 <= loader["share"] < 1
    assert loader["seconds_waited_per_step"] <= loader["seconds_per_step"]
    assert loader["workers_needed"] >= 1
    assert row["steps_per_second"] == pytest.approx(1 / row["seconds"]["step"])
    assert row["peak_bytes"]["step"] > 0
