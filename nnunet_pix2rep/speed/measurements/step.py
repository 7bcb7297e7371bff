"""What a pretraining step costs: against forward and backward of the bare network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pix2rep.nnunet.training.base import Pix2RepTrainer
from nnunet_pix2rep.nnunet.training.nnunet_private import is_compiled, stop_workers
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import Pix2RepPretrainTrainer
from nnunet_pix2rep.speed.subjects.trainers import PRETRAINERS, PlannedDataset, make_trainer, quiet
from nnunet_pix2rep.speed.timing.measure import alternate, median_ratio, medians
from nnunet_pix2rep.speed.timing.timer import Timer


def measure_step_overhead(
    dataset: PlannedDataset,
    repetitions: int,
    device: torch.device,
    settings: Mapping[str, Any],
    timer: Timer,
) -> list[dict[str, Any]]:
    """One pretraining step of either trainer against forward and backward of the bare network on the same two views.

    The step is the trainer's own ``train_step``, with transfer, projection, loss, clipping and optimizer. The bare
    network is the planned one with its segmentation layer, in the same precision, compiled or not as the trainer's.

    Args:
        dataset: What to measure on.
        repetitions: Timed calls of each.
        device: Where to compute.
        settings: Of the pretraining, over those of the plans.
        timer: Takes the time.
    """
    results = []
    for loss, trainer_class in PRETRAINERS.items():
        trainer = make_trainer(trainer_class, dataset, device, pretraining=settings)
        with quiet():
            batch = _training_batch(trainer)
        contestants = {"bare_network": bare_step(trainer, batch), "step": lambda: trainer.train_step(batch)}  # noqa: B023
        trainer.network.train()
        seconds = alternate(contestants, repetitions, timer, f"step_overhead, {loss}", warm_up=2)
        config = trainer.config.pretraining
        results.append(
            {
                "loss": loss,
                "compiled": is_compiled(trainer),
                "info_nce_negatives": config.info_nce.negatives if loss == "info_nce" else None,
                "views": list(batch["images"].shape),
                "pixel_pairs": batch["points"].shape[0] // 2 * batch["points"].shape[1],
                "seconds": medians(seconds),
                "ratio": median_ratio(seconds["step"], seconds["bare_network"]),
            }
        )
    return results


def _training_batch(trainer: Pix2RepPretrainTrainer) -> dict[str, Any]:
    training, validation = trainer.get_dataloaders()
    try:
        return next(training)
    finally:
        stop_workers(training, validation)


def bare_step(trainer: Pix2RepTrainer, batch: Mapping[str, Any]) -> Callable[[], None]:
    """Forward and backward of the planned network alone on the views of a batch; the gradient that enters is random."""
    network = nnUNetTrainer.build_network_architecture(
        trainer.plans_manager,
        trainer.configuration_manager,
        trainer.num_input_channels,
        trainer.label_manager.num_segmentation_heads,
        enable_deep_supervision=False,
    ).to(trainer.device)
    if is_compiled(trainer):
        network = torch.compile(network)
    images = batch["images"].to(trainer.device)
    with torch.no_grad(), trainer.autocast():
        gradient = torch.randn_like(network(images)) * 1e-3

    def step() -> None:
        with trainer.autocast():
            output = network(images)
        output.backward(gradient)
        # Not before the step: they would then be missing from the memory that it is seen to take.
        for parameter in network.parameters():
            parameter.grad = None

    return step
