"""What loaders and epochs cost, against nnU-Net's own.

Read against nnunetv2 2.8.1, training/nnUNetTrainer/nnUNetTrainer.py: ``get_dataloaders``, and ``run_training`` for the
epoch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

from nnunet_pix2rep.nnunet.training.nnunet_private import stop_workers
from nnunet_pix2rep.speed.subjects.trainers import (
    PRETRAINERS,
    FinetuneFromScratch,
    PlannedDataset,
    make_trainer,
    quiet,
)
from nnunet_pix2rep.speed.timing.measure import alternate, median_ratio, medians
from nnunet_pix2rep.speed.timing.timer import HostTimer


def measure_loader(
    dataset: PlannedDataset, repetitions: int, num_batches: int, device: torch.device, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Views per second of our loader against those of nnU-Net's augmented training loader, with as many workers.

    Each repetition starts the workers of one loader, takes what they had cached and then times batches, so that the two
    never run at the same time. One view of ours is half of a pair; one of nnU-Net's is a patch with its segmentation.
    The number of workers is nnU-Net's (``nnUNet_n_proc_DA``).

    Args:
        dataset: What to measure on.
        repetitions: How often each loader is started.
        num_batches: Batches that are timed.
        device: Where to compute.
        settings: Of the pretraining, over those of the plans.
    """
    trainers = {
        "pix2rep": make_trainer(PRETRAINERS["barlow_twins"], dataset, device, pretraining=settings),
        "nnunet": make_trainer(nnUNetTrainer, dataset, device),
    }
    rates: dict[str, list[float]] = {name: [] for name in trainers}
    for _ in range(repetitions):
        for name, trainer in trainers.items():
            views_per_batch = trainer.batch_size * (2 if name == "pix2rep" else 1)
            rates[name].append(num_batches * views_per_batch / _seconds_of_batches(trainer, num_batches))
    return {
        "workers": get_allowed_n_proc_DA(),
        "batch_size": trainers["nnunet"].batch_size,
        "patch": [int(width) for width in trainers["nnunet"].configuration_manager.patch_size],
        "views_per_second": medians(rates),
        "ratio": median_ratio(rates["pix2rep"], rates["nnunet"]),
    }


def num_cached_batches(num_workers: int) -> int:
    """At least as many batches as may be ready when the workers of a loader have been idle; those cost no time.

    With ours 3 in the queue of each worker, one in its hands and half as many again in the queue of the thread that
    pins them (batchgenerators 0.25.1, dataloading/multi_threaded_augmenter.py); fewer with nnU-Net's.
    """
    return 0 if num_workers == 0 else 6 * num_workers + 4


def _seconds_of_batches(trainer: nnUNetTrainer, num_batches: int) -> float:
    with quiet():
        training, validation = trainer.get_dataloaders()
        stop_workers(validation)
    try:
        for _ in range(num_cached_batches(get_allowed_n_proc_DA())):
            next(training)

        def take() -> None:
            for _ in range(num_batches):
                next(training)

        return HostTimer(torch.device("cpu")).seconds(take)
    finally:
        stop_workers(training)


def measure_fine_tuning(
    dataset: PlannedDataset, repetitions: int, num_iterations: int, device: torch.device, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """An epoch of our fine-tuning trainer against one of the stock trainer.

    With the default settings all weights train in both: the epochs at the start in which the segmentation layers train
    alone are left out, whatever the settings.

    Args:
        dataset: What to measure on.
        repetitions: Timed epochs of each.
        num_iterations: Training steps of an epoch; a fifth as many validation steps, as in nnU-Net.
        device: Where to compute.
        settings: Of the fine-tuning, over those of the plans.
    """
    # With the backbone at rest an epoch would be shorter.
    finetuning = {**settings, "head_first_fraction": 0.0, "num_epochs": 1000}
    trainers = {
        "pix2rep": make_trainer(FinetuneFromScratch, dataset, device, finetuning=finetuning),
        "nnunet": make_trainer(nnUNetTrainer, dataset, device),
    }
    with quiet():
        for trainer in trainers.values():
            trainer.num_iterations_per_epoch = num_iterations
            trainer.num_val_iterations_per_epoch = max(1, num_iterations // 5)
            trainer.on_train_start()
        epochs = {name: lambda trainer=trainer: run_epoch(trainer) for name, trainer in trainers.items()}
        try:
            seconds = alternate(epochs, repetitions, HostTimer(device), "fine_tuning")
        finally:
            stop_workers(*(loader for trainer in trainers.values() for loader in _loaders(trainer)))
    return {
        "training_steps": num_iterations,
        "seconds_per_epoch": medians(seconds),
        "ratio": median_ratio(seconds["pix2rep"], seconds["nnunet"]),
    }


def _loaders(trainer: nnUNetTrainer) -> tuple[Any, Any]:
    return trainer.dataloader_train, trainer.dataloader_val


def run_epoch(trainer: nnUNetTrainer) -> None:
    """Training and validation of one epoch; without its end, which plots and saves, in both trainers by nnU-Net."""
    trainer.on_epoch_start()
    trainer.on_train_epoch_start()
    outputs = [trainer.train_step(next(trainer.dataloader_train)) for _ in range(trainer.num_iterations_per_epoch)]
    trainer.on_train_epoch_end(outputs)
    with torch.no_grad():
        trainer.on_validation_epoch_start()
        trainer.on_validation_epoch_end(
            [trainer.validation_step(next(trainer.dataloader_val)) for _ in range(trainer.num_val_iterations_per_epoch)]
        )
    trainer.current_epoch += 1
