"""The network that nnU-Net plans, built outside a trainer."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.networks.decoder_features import check_architecture
from nnunet_pix2rep.nnunet.plans.plans_file import resolve_configuration
from nnunet_pix2rep.nnunet.random_state import global_seed

INIT_ARGS = ("plans", "configuration", "dataset_json")  # of nnU-Net's trainers, in their checkpoints


@dataclass(frozen=True)
class PlannedNetwork:
    """What determines a network: plans, the name of one of their configurations, and the dataset's description.

    Attributes:
        plans: nnU-Net's plans.
        configuration: Such as ``3d_fullres``; not the second stage of a cascade.
        dataset_json: The dataset's ``dataset.json``: channels and labels.
    """

    plans: dict[str, Any]
    configuration: str
    dataset_json: dict[str, Any]

    @classmethod
    def of_checkpoint(cls, checkpoint: dict[str, Any], source: Path) -> PlannedNetwork:
        """What nnU-Net's trainers note in their checkpoints (``init_args``, nnunetv2 2.8.1, nnUNetTrainer.py).

        Raises:
            UserError: the checkpoint does not say which network its weights are of.
        """
        arguments = checkpoint.get("init_args")
        if not isinstance(arguments, dict) or not arguments.keys() >= {*INIT_ARGS}:
            raise UserError(
                f"{source} does not hold the plans of its network (init_args), as checkpoints of nnU-Net's trainers "
                "do. Give the checkpoint_final.pth, or checkpoint_best.pth, of a training."
            )
        return cls(*(arguments[name] for name in INIT_ARGS))

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration with its inheritance resolved.

        Raises:
            UserError: the plans do not have it, or it is the second stage of a cascade.
        """
        return resolve_configuration(self.plans, self.configuration)

    def plans_manager(self) -> PlansManager:
        """nnU-Net's view of the plans; of a copy, since PlansManager and the network's builder change what they get."""
        return PlansManager(deepcopy(self.plans))

    def configuration_manager(self) -> ConfigurationManager:
        """nnU-Net's view of the configuration."""
        return self.plans_manager().get_configuration(self.configuration)

    @property
    def num_input_channels(self) -> int:
        """Channels of the images."""
        return determine_num_input_channels(self.plans_manager(), self.configuration_manager(), self.dataset_json)

    def build(self, seed: int = 0, device: torch.device | str = "cpu", *, deep_supervision: bool = True) -> nn.Module:
        """Builds the network, by nnU-Net's own function.

        Args:
            seed: Of the initial weights.
            device: ``meta`` for shapes without weights, at no cost.
            deep_supervision: Whether the decoder returns a segmentation of each stage.

        Raises:
            UserError: the configuration is missing or a cascade, or the network is not one of nnU-Net's U-Nets.
        """
        resolve_configuration(self.plans, self.configuration)  # raises where it is missing or a cascade
        manager = self.plans_manager()
        num_outputs = manager.get_label_manager(self.dataset_json).num_segmentation_heads
        with global_seed(seed), torch.device(device):
            network = nnUNetTrainer.build_network_architecture(
                manager, self.configuration_manager(), self.num_input_channels, num_outputs, deep_supervision
            )
        check_architecture(network)
        return network
