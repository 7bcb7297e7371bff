"""Trainers to measure, made as nnU-Net's command line makes them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pix2rep.config import BLOCK_NAME
from nnunet_pix2rep.config.merge import merged
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.environment import WANDB_SWITCH, environment
from nnunet_pix2rep.nnunet.plans.plans_file import resolve_configuration
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import (
    nnUNetTrainerPix2RepPretrain,
    nnUNetTrainerPix2RepV2Pretrain,
)

PRETRAINERS = {
    trainer.loss_class.name: trainer for trainer in (nnUNetTrainerPix2RepV2Pretrain, nnUNetTrainerPix2RepPretrain)
}
FOLD = "all"  # needs no splits file


class FinetuneFromScratch(Pix2RepFinetuneTrainer):
    """Fine-tuning without a pretraining, which would not change the time."""

    needs_pretrained_weights = False


@dataclass(frozen=True)
class PlannedDataset:
    """A preprocessed dataset and the configuration to measure.

    Attributes:
        folder: The dataset's folder of preprocessed data.
        plans_name: Name of the plans file in it, without ending.
        configuration: Name of the configuration.
    """

    folder: Path
    plans_name: str
    configuration: str

    def plans(self, settings: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
        """The plans with further settings in the configuration's block ``pix2rep``.

        Raises:
            UserError: plans or configuration are missing, or the configuration is a cascade.
        """
        plans = read_json(self.folder / f"{self.plans_name}.json")
        block = deepcopy(resolve_configuration(plans, self.configuration).get(BLOCK_NAME) or {})
        plans["configurations"][self.configuration][BLOCK_NAME] = merged(block, settings)
        return plans


def make_trainer(
    trainer_class: type[nnUNetTrainer],
    dataset: PlannedDataset,
    device: torch.device,
    **settings: Mapping[str, Any],
) -> nnUNetTrainer:
    """An initialized trainer, as nnU-Net's command line makes it, with settings such as ``finetuning={...}``."""
    plans = dataset.plans(settings) | {"continue_training": False}
    num_threads = torch.get_num_threads()
    # a measurement is no run for Weights & Biases, which has one in a process
    with quiet(), environment({WANDB_SWITCH: "0"}):
        trainer = trainer_class(plans, dataset.configuration, FOLD, read_json(dataset.folder / "dataset.json"), device)
        torch.set_num_threads(num_threads)  # that of --threads, which trainers set to OMP_NUM_THREADS
        trainer.initialize()
    return trainer


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what trainers print from the console; it is in their log files too."""
    with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
        yield
