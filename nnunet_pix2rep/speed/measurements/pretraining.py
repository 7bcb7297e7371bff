"""What the pretraining of a plan takes: steps per second, hours, memory, and whether the loader keeps up."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

from nnunet_pix2rep.nnunet.networks.decoder_features import unwrap
from nnunet_pix2rep.nnunet.training.nnunet_private import is_compiled, stop_workers
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import Pix2RepPretrainTrainer
from nnunet_pix2rep.speed.measurements.loops import num_cached_batches
from nnunet_pix2rep.speed.measurements.step import bare_step
from nnunet_pix2rep.speed.subjects.trainers import PRETRAINERS, PlannedDataset, make_trainer, quiet
from nnunet_pix2rep.speed.timing.measure import alternate, median_ratio, medians, peak_memory
from nnunet_pix2rep.speed.timing.timer import Timer, synchronize

LOSS = "barlow_twins"  # of the trainer that README recommends; step_overhead has both losses
WARM_UP = 3  # calls in which cuDNN chooses its algorithms, AMP its scale, and torch.compile compiles
BATCHES_OF_ONE_WORKER = 2
LONGEST_LOOP = 5.0  # seconds of steps that take from the loader


def measure_pretraining(
    name: str,
    dataset: PlannedDataset,
    settings: Mapping[str, Any],
    *,
    repetitions: int,
    num_batches: int,
    timer: Timer,
    device: torch.device,
) -> dict[str, Any]:
    """One pretraining: its step alone, the bare network, its loader alone, and steps that take from the loader.

    The network is compiled or not as nnU-Net would (``nnUNet_compile``); the bare network is measured where it is not,
    since compiling takes longer than all else here.

    Args:
        name: Of the plan, for the table.
        dataset: Preprocessed data and plans.
        settings: Of the pretraining, over those of the plans.
        repetitions: Timed steps.
        num_batches: Steps that take from the loader.
        timer: Takes the time of a step.
        device: Where to compute.
    """
    trainer = make_trainer(PRETRAINERS[LOSS], dataset, device, pretraining=settings)
    with quiet():
        compiled = is_compiled(trainer)
        training, validation = trainer.get_dataloaders()
        stop_workers(validation)
    try:
        batch = next(training)
        with quiet():
            bare_network = None if compiled else bare_step(trainer, batch)
        step = _measure_step(
            trainer, batch, bare_network=bare_network, repetitions=repetitions, timer=timer, device=device
        )
        of_one_worker = _seconds_of_one_worker(training)
        with_loader = _seconds_with_loader(
            trainer, training, num_batches=num_batches, of_one_worker=of_one_worker, device=device
        )
    finally:
        stop_workers(training)
    seconds = step["seconds"]
    return {
        "plan": name,
        "configuration": dataset.configuration,
        "network": type(trainer.planned_network).__name__,
        "loss": LOSS,
        "batch_size": trainer.batch_size,
        "patch": [int(width) for width in trainer.configuration_manager.patch_size],
        "compiled": compiled,
        **step,
        "steps_per_second": 1 / seconds["step"],
        "hours": hours_of_pretraining(trainer, max(seconds["step"], with_loader), seconds["validation"]),
        "loader": loader_share(seconds["step"], with_loader, of_one_worker),
    }


def hours_of_pretraining(trainer: Pix2RepPretrainTrainer, step: float, validation_step: float) -> float:
    """Hours of training and validation steps of the configured length; checkpoints and pictures come on top."""
    of_epoch = trainer.num_iterations_per_epoch * step + trainer.num_val_iterations_per_epoch * validation_step
    return trainer.num_epochs * of_epoch / 3600


def loader_share(step: float, with_loader: float, of_one_worker: float) -> dict[str, Any]:
    """What the loader costs, and the workers that the device needs.

    Args:
        step: Seconds of a step whose batch is there.
        with_loader: Seconds of a step that takes its batch from the loader.
        of_one_worker: Seconds in which one worker makes a batch.
    """
    waited = max(0.0, with_loader - step)
    needed = max(1, math.ceil(of_one_worker / step))
    return {
        "workers": get_allowed_n_proc_DA(),
        "seconds_per_batch_of_one_worker": of_one_worker,
        "seconds_per_step": with_loader,
        "seconds_waited_per_step": waited,
        "share": waited / with_loader,
        "workers_needed": needed,
        "cores": usable_cores(),
        "limits": needed > usable_cores(),
    }


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)


def _measure_step(
    trainer: Pix2RepPretrainTrainer,
    batch: dict[str, Any],
    bare_network: Callable[[], None] | None,
    repetitions: int,
    timer: Timer,
    device: torch.device,
) -> dict[str, Any]:
    """Times and memory of a training step, of a validation step, and of the bare network if it is given."""
    trainer.network.train()
    contestants: dict[str, Callable[[], Any]] = {"step": lambda: trainer.train_step(batch)}
    if bare_network is not None:
        contestants["bare_network"] = bare_network
    seconds = alternate(contestants, repetitions, timer, "pretraining", warm_up=WARM_UP)
    memory = {}
    for name, function in contestants.items():
        trainer.optimizer.zero_grad(set_to_none=True)  # else the step would first free what it is to be charged with
        memory[name] = peak_memory(function, device)
    validation = alternate({"validation": lambda: _validate(trainer, batch)}, repetitions, timer)
    return {
        "seconds": medians(seconds | validation),
        "ratio": median_ratio(seconds["step"], seconds["bare_network"]) if "bare_network" in seconds else None,
        "peak_bytes": memory,
        "model_bytes": model_bytes(trainer),
    }


@torch.no_grad()
def _validate(trainer: Pix2RepPretrainTrainer, batch: dict[str, Any]) -> None:
    """A validation step, never compiled: that would take longer than all validation steps here."""
    network = trainer.network
    trainer.network = unwrap(network).eval()
    try:
        trainer.validation_step(batch)
    finally:
        trainer.network = network.train()


def model_bytes(trainer: Pix2RepPretrainTrainer) -> int:
    """Bytes of weights and of the optimizer's state, which lie on the device between two steps."""
    states = [value for state in trainer.optimizer.state.values() for value in state.values()]
    tensors = [*trainer.network.parameters(), *trainer.network.buffers(), *filter(torch.is_tensor, states)]
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _seconds_of_one_worker(training: Any) -> float:
    """Seconds in which a worker with a core of its own makes a batch; this process makes it, with the workers' loader.

    The workers, who have nothing to do once their queues are full, keep theirs (batchgenerators 0.25.1,
    dataloading/multi_threaded_augmenter.py and single_threaded_augmenter.py).
    """
    loader = training.generator if hasattr(training, "generator") else training.data_loader
    with _one_thread():
        loader.make_batch(0)  # looks for the libraries whose threads it holds back
        start = time.perf_counter()
        for index in range(BATCHES_OF_ONE_WORKER):
            loader.make_batch(index)
        return (time.perf_counter() - start) / BATCHES_OF_ONE_WORKER


@contextmanager
def _one_thread() -> Iterator[None]:
    earlier = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(earlier)


def _seconds_with_loader(
    trainer: Pix2RepPretrainTrainer, training: Any, num_batches: int, of_one_worker: float, device: torch.device
) -> float:
    """Seconds per step of a training loop, once the batches that were ready before it are used up."""
    num_workers = get_allowed_n_proc_DA()
    for _ in range(num_cached_batches(num_workers)):
        start = time.perf_counter()
        next(training)
        if time.perf_counter() - start > of_one_worker / (2 * num_workers):  # it had to be waited for
            break
    synchronize(device)
    start = time.perf_counter()
    num_steps = 0
    while num_steps < num_batches and time.perf_counter() - start < LONGEST_LOOP:
        trainer.train_step(next(training))
        num_steps += 1
    synchronize(device)
    return (time.perf_counter() - start) / num_steps
