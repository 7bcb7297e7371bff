"""Linear probing: how much of the segmentation the pretrained features hold as they are.

The backbone is frozen and in eval mode; only the segmentation layers train. Where the pretraining used the hypercolumn,
so does the probe: a linear layer on the upsampled features of all decoder stages equals the sum of the upsampled
outputs of one 1x1 convolution per stage, and those are just the segmentation layers that nnU-Net plans for deep
supervision.
"""

from __future__ import annotations

from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch.nn.functional import interpolate

from nnunet_pix2rep.config import BLOCK_NAME, Pix2RepConfig
from nnunet_pix2rep.nnunet.networks.decoder_features import check_architecture
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer, split_parameters
from nnunet_pix2rep.nnunet.training.finetuning.schedule import FinetuningSchedule


def sum_upsampled(_decoder: nn.Module, _inputs: Any, outputs: list[torch.Tensor]) -> torch.Tensor:
    """Forward hook of a decoder with deep supervision: the sum of its outputs at full resolution, (B, classes, *S)."""
    size = outputs[0].shape[2:]
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return outputs[0] + sum(interpolate(output, size, mode=mode, align_corners=False) for output in outputs[1:])


class Pix2RepLinearProbeTrainer(Pix2RepFinetuneTrainer):
    """Trains the segmentation layers alone on frozen features; see the module."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.initial_lr = self.settings.probe_lr
        self.enable_deep_supervision = False
        self.uses_hypercolumn = self.config.pretraining.sampling.features == "hypercolumn"
        if self.uses_hypercolumn:
            self.print_to_log_file(
                "The probe reads all decoder stages, which a stock network does not: predicting with it needs "
                "nnunet_pix2rep installed and nnUNet_extTrainer set. A plan with "
                "pretraining.sampling.features=last_stage has no such need."
            )

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The planned network with keys and shapes as planned; its outputs summed for the hypercolumn."""
        # nnU-Net's prediction comes here with the plans beside the checkpoint, which may be of an earlier version
        block = configuration_manager.configuration.get(BLOCK_NAME)
        config = Pix2RepConfig.from_record(block, f"plans {plans_manager.plans_name}")
        uses_hypercolumn = config.pretraining.sampling.features == "hypercolumn"
        network = nnUNetTrainer.build_network_architecture(
            plans_manager,
            configuration_manager,
            num_input_channels,
            num_output_channels,
            uses_hypercolumn or enable_deep_supervision,
        )
        check_architecture(network)
        if uses_hypercolumn:
            network.decoder.register_forward_hook(sum_upsampled)
        return network

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Leaves the decoder as it was built: the probe has one output at full resolution."""

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, FinetuningSchedule]:
        """AdamW on the segmentation layers, polynomial decay."""
        encoder, decoder, heads = split_parameters(self.planned_network)
        for parameter in (*encoder, *decoder):
            parameter.requires_grad_(False)
        trained = heads if self.uses_hypercolumn else list(self.planned_network.decoder.seg_layers[-1].parameters())
        for parameter in heads:
            parameter.requires_grad_(any(parameter is one for one in trained))
        groups: list[dict[str, Any]] = [{"params": [], "lr": 0.0}, {"params": trained, "lr": self.settings.probe_lr}]
        optimizer = torch.optim.AdamW(groups, weight_decay=self.settings.weight_decay)
        return optimizer, FinetuningSchedule(
            optimizer,
            (0.0, self.settings.probe_lr),
            num_epochs=self.num_epochs,
            head_first_fraction=0.0,
            warmup_fraction=0.0,
        )

    def on_train_epoch_start(self) -> None:
        """The frozen backbone stays in eval mode."""
        super().on_train_epoch_start()
        self.planned_network.eval()
        self.planned_network.decoder.seg_layers.train()

    def checkpoint_content(self, next_epoch: int) -> dict[str, Any]:
        """Names this trainer where a stock network would predict something else than the probe."""
        content = super().checkpoint_content(next_epoch)
        return content | {"trainer_name": type(self).__name__} if self.uses_hypercolumn else content

    def uses_setting(self, name: str) -> bool:
        """Of those about network and optimizer only its own."""
        others = ("trainable", "optimizer", "backbone_lr", "head_lr", "head_first_fraction", "warmup_fraction")
        own = name in ("finetuning.probe_lr", "pretraining.sampling.features")
        return own or (super().uses_setting(name) and name.removeprefix("finetuning.") not in others)
