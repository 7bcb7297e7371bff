"""What a pretraining says of an epoch, and of itself at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from shlex import quote
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pix2rep.diagnostics.monitoring import PretrainingWarning
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.losses.distributed import all_reduce_sum, number_of_processes
from nnunet_pix2rep.nnunet.checkpoints.files import FINAL
from nnunet_pix2rep.nnunet.training.base import Pix2RepTrainer

SUMMARY_FILE = "pretraining_summary.json"


def mean_over_processes(outputs: Sequence[Mapping[str, Any]], key: str) -> float:
    """The mean of what the steps of all processes returned under a key."""
    mean = torch.stack([output[key] for output in outputs]).float().mean()
    return float(all_reduce_sum(mean) / number_of_processes())


def print_epoch(trainer: nnUNetTrainer, diagnostics: Sequence[str], warnings: Sequence[PretrainingWarning]) -> None:
    """Prints losses, diagnostics, warnings and the time of the epoch that has ended to the log file.

    Args:
        trainer: The pretraining.
        diagnostics: Names of what is logged besides the losses.
        warnings: All warnings so far; those of this epoch are printed.
    """

    def last(key: str) -> float:
        return trainer.logger.get_value(key, step=-1)

    trainer.print_to_log_file("train_loss", round(last("train_losses"), 4))
    trainer.print_to_log_file("val_loss", round(last("val_losses"), 4))
    trainer.print_to_log_file("diagnostics", {name: round(last(name), 4) for name in diagnostics})
    for warning in warnings:
        if warning.epoch == trainer.current_epoch:
            crossed = ", ".join(f"{name} {value:.4g}" for name, value in warning.crossed.items())
            trainer.print_to_log_file(f"WARNING ({warning.kind}: {crossed}): {warning.message}")
            trainer.logger.log_summary(f"warnings/{warning.kind}", warning.epoch)
    seconds = last("epoch_end_timestamps") - last("epoch_start_timestamps")
    trainer.print_to_log_file(f"Epoch time: {seconds:.2f} s")


def write_summary(trainer: Pix2RepTrainer) -> None:
    """Writes the record and the log of a finished pretraining."""
    summary = trainer.record() | {"epochs": trainer.current_epoch, "logging": trainer.logger.get_checkpoint()}
    write_json(summary, Path(trainer.output_folder) / SUMMARY_FILE)
    trainer.print_to_log_file(f"Pretraining complete: {summary['diagnostics']}. Summary in {SUMMARY_FILE}.")


def print_next_command(trainer: Pix2RepTrainer) -> None:
    """How to fine-tune a finished pretraining."""
    device = "" if trainer.device.type == "cuda" else f" -device {trainer.device.type}"  # nnUNetv2_train takes CUDA
    trainer.print_to_log_file(
        f"Fine-tune with nnUNetv2_train {trainer.plans_manager.dataset_name} {trainer.configuration_name} "
        f"{trainer.fold} -p {trainer.plans_manager.plans_name} -tr nnUNetTrainerPix2RepFinetune -pretrained_weights "
        f"{quote(str(Path(trainer.output_folder) / FINAL))}{device}"
    )
