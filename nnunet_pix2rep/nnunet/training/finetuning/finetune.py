"""Supervised fine-tuning that keeps what was pretrained.

Data, loss and deep supervision are nnU-Net's, its augmentation too, in 2D with elastic deformation. How much of that,
optimizer, learning rates and schedule come from the ``finetuning`` part of the plans' ``pix2rep`` block. First the
segmentation layers train alone, since their random start would otherwise spoil the pretrained features; then the
backbone warms up; then both decay as nnU-Net's do.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from torch import nn

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import seen_cases
from nnunet_pix2rep.nnunet.checkpoints.transfer import find_pretraining
from nnunet_pix2rep.nnunet.data.annotation_record import annotations_of, read_annotations
from nnunet_pix2rep.nnunet.data.dataset_folders import training_cases
from nnunet_pix2rep.nnunet.loading.training_images import preprocessed_labeled_cases
from nnunet_pix2rep.nnunet.networks.decoder_features import UNet, check_architecture
from nnunet_pix2rep.nnunet.training.finetuning.elastic_deformation import switch_on_elastic_deformation
from nnunet_pix2rep.nnunet.training.finetuning.schedule import FinetuningSchedule
from nnunet_pix2rep.nnunet.training.nnunet_private import NetworkStandIn, requested_pretrained_weights
from nnunet_pix2rep.nnunet.training.out_of_memory import MemoryAdvisingTrainer
from nnunet_pix2rep.nnunet.training.starting_weights import check_continued, load_starting_weights

NNUNET_MOMENTUM = 0.99
STOCK_TRAINER = "nnUNetTrainer"
TEACHER_SETTINGS = frozenset(f"finetuning.{name}" for name in ("ema_decay", "consistency_weight", "ramp_up_fraction"))


def split_parameters(network: UNet) -> tuple[list[nn.Parameter], list[nn.Parameter], list[nn.Parameter]]:
    """Parameters of encoder, decoder without segmentation layers, and segmentation layers of a planned U-Net."""
    encoder = list(network.encoder.parameters())
    heads = list(network.decoder.seg_layers.parameters())
    known = {id(parameter) for parameter in (*encoder, *heads)}
    return encoder, [parameter for parameter in network.parameters() if id(parameter) not in known], heads


class Pix2RepFinetuneTrainer(MemoryAdvisingTrainer):
    """Fine-tuning from a pretraining; see the module."""

    needs_pretrained_weights = True

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.settings = self.config.finetuning
        self.set_length(self.settings)
        self.initial_lr = self.settings.backbone_lr
        self.weight_decay = self.settings.weight_decay
        self._iteration_in_epoch = 0
        self.pretrained_record: dict[str, Any] | None = None
        self.cases_used: list[str] = []
        self.transductive_cases: list[str] = []
        self.annotations: list[dict[str, Any]] = []
        self._stand_in = NetworkStandIn()

    # ----------------------------------------------------------------------------------------------- network, optimizer

    def initialize(self) -> None:
        """nnU-Net's; a file given by ``-pretrained_weights`` is checked and loaded here, with a report."""
        if not preprocessed_labeled_cases(Path(self.preprocessed_dataset_folder)):
            training_cases(self.plans_manager.dataset_name)  # raises: there is none
        requested = requested_pretrained_weights()
        if requested is not None and not self.needs_pretrained_weights:
            raise UserError(
                f"{type(self).__name__} trains from random weights, but -pretrained_weights {requested} was given. "
                f"Leave the option out, or use {type(self).__name__.removesuffix('Scratch')}."
            )
        super().initialize()
        if requested is not None:
            self.load_pretrained(requested)
            if self.pretrained_record is not None and self.pretrained_record["adapted_tensors"]:
                self._stand_in.show_nothing(self)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, FinetuningSchedule]:
        """Two parameter groups, backbone and segmentation layers; frozen parts are left out."""
        settings = self.settings
        check_architecture(self.planned_network)
        encoder, decoder, heads = split_parameters(self.planned_network)
        for frozen in {"all": [], "decoder": [encoder], "heads": [encoder, decoder]}[settings.trainable]:
            for parameter in frozen:
                parameter.requires_grad_(False)
        backbone = [parameter for parameter in (*encoder, *decoder) if parameter.requires_grad]
        groups = [{"params": backbone, "lr": settings.backbone_lr}, {"params": heads, "lr": settings.head_lr}]
        optimizer: torch.optim.Optimizer
        if settings.optimizer == "adamw":
            fused = self.device.type in ("cpu", "cuda")  # one pass over all weights
            optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=fused)
        else:
            optimizer = torch.optim.SGD(
                groups, weight_decay=settings.weight_decay, momentum=NNUNET_MOMENTUM, nesterov=True
            )
        optimizer.register_step_pre_hook(_rest_backbone)
        rates = (settings.backbone_lr, settings.head_lr)
        return optimizer, FinetuningSchedule(
            optimizer,
            rates,
            num_epochs=self.num_epochs,
            head_first_fraction=settings.head_first_fraction,
            warmup_fraction=settings.warmup_fraction,
        )

    # ---------------------------------------------------------------------------------------------- pretrained weights

    def load_pretrained(self, file: Path) -> None:
        """Loads pretrained weights after the leak guard; says what was loaded.

        Raises:
            UserError: the weights do not fit, or the pretraining has seen this fold's validation patients.
        """
        record, self.pretrained_record = load_starting_weights(self, file, "finetuning")
        if "config" in record:
            self.pretrained_record["config"] = record["config"]
        self.transductive_cases = self.pretrained_record["transductive_cases"]
        self.cases_used = sorted(seen_cases(record, self.plans_manager.dataset_name))

    def provide_pretrained_weights(self) -> Path:
        """Where the weights come from when ``-pretrained_weights`` is not given: this fold's own pretraining."""
        results_folder = Path(self.output_folder_base).parent
        return find_pretraining(results_folder, self.plans_manager.plans_name, self.configuration_name, self.fold)

    def on_train_start(self) -> None:
        """nnU-Net's; a new training without weights looks for them first, before any worker starts."""
        self._stand_in.remove(self)
        if not self.was_initialized:
            self.initialize()
        if self.needs_pretrained_weights and self.pretrained_record is None:
            self.load_pretrained(self.provide_pretrained_weights())
        training = self.do_split()[0]
        self.cases_used = sorted({*self.cases_used, *training})
        folder = Path(self.preprocessed_dataset_folder_base)
        self.annotations = annotations_of(read_annotations(folder), training)
        super().on_train_start()

    # ----------------------------------------------------------------------------------------------------------- steps

    def get_training_transforms(self, *args: Any, **kwargs: Any) -> BasicTransform:
        """nnU-Net's; of 2D patches a part is deformed elastically, which the log says."""
        transforms = super().get_training_transforms(*args, **kwargs)
        probability = self.settings.elastic_probability
        if len(self.configuration_manager.patch_size) == 2 and probability > 0:
            switch_on_elastic_deformation(transforms, probability)
            self.print_to_log_file(f"{probability:.0%} of the training patches are deformed elastically.")
        return transforms

    def on_train_epoch_start(self) -> None:
        """nnU-Net's, and logs the second learning rate."""
        super().on_train_epoch_start()
        self._iteration_in_epoch = 0
        self.print_to_log_file(f"Learning rate of the segmentation layers: {self.optimizer.param_groups[1]['lr']:.5f}")

    def train_step(self, batch: dict) -> dict:
        """nnU-Net's step; the schedule moves within the epoch."""
        self.lr_scheduler.step(self.current_epoch + self._iteration_in_epoch / self.num_iterations_per_epoch)
        self._iteration_in_epoch += 1
        return super().train_step(batch)

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """nnU-Net's; an epoch whose patches show no foreground, which has no Dice, is left out of the running average.

        nnU-Net's average would stay undefined from then on, and ``checkpoint_best.pth`` would never be written again.
        """
        super().on_validation_epoch_end(val_outputs)
        averages = self.logger.local_logger.my_fantastic_logging["ema_fg_dice"]
        if math.isnan(averages[-1]):
            averages[-1] = averages[-2] if len(averages) > 1 else 0.0

    # ----------------------------------------------------------------------------------------------------- checkpoints

    def record(self) -> dict[str, Any]:
        """Adds where weights and annotations came from, and all cases that were seen, in the pretraining too."""
        return super().record() | {
            "stage": "finetuning",
            "pretrained": self.pretrained_record,
            "cases": self.cases_used,
            "transductive_cases": self.transductive_cases,
            "annotations": self.annotations,
        }

    def checkpoint_content(self, next_epoch: int) -> dict[str, Any]:
        """Names the stock trainer, so that a nnU-Net without this package predicts with it; ours is in the record."""
        return super().checkpoint_content(next_epoch) | {"trainer_name": STOCK_TRAINER}

    def load_further_weights(self, checkpoint: dict[str, Any], source: str) -> None:
        """Takes over where the weights of the continued training came from, and what they have seen.

        Raises:
            UserError: they have seen this fold's validation patients, which were others when the training began.
        """
        record = checkpoint.get(RECORD_KEY, {})
        self.transductive_cases = check_continued(self, record, Path(source))
        self.pretrained_record = record.get("pretrained")
        if self.pretrained_record is not None:
            self.pretrained_record["transductive_cases"] = self.transductive_cases
        self.cases_used = record.get("cases", [])
        self.annotations = record.get("annotations", [])

    def uses_setting(self, name: str) -> bool:
        """Those of fine-tuning, but for the Mean Teacher's and the linear probe's."""
        return name.startswith("finetuning.") and name not in {*TEACHER_SETTINGS, "finetuning.probe_lr"}


def _rest_backbone(optimizer: torch.optim.Optimizer, _args: Any, _kwargs: Any) -> None:
    """Drops the gradients of a backbone whose learning rate is 0: momentum and averages do not take them in either."""
    backbone = optimizer.param_groups[0]
    if backbone["lr"] == 0:
        for parameter in backbone["params"]:
            parameter.grad = None
