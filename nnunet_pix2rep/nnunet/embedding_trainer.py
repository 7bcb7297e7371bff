"""The network and the loss of Pix2Rep.

The planned network gets a projection head; its loss compares paired pixels of two views. Read against nnunetv2 2.8.1,
training/nnUNetTrainer/nnUNetTrainer.py.
"""

from __future__ import annotations

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_pix2rep.diagnostics import summarise
from nnunet_pix2rep.nnunet.logger import DIAGNOSTICS
from nnunet_pix2rep.nnunet.network import build_pixel_embedder, unwrap
from nnunet_pix2rep.nnunet.plans import read_config
from nnunet_pix2rep.nnunet.self_supervised_trainer import SelfSupervisedTrainer
from nnunet_pix2rep.pretraining import PixelEmbedder, build_loss


class PixelEmbeddingTrainer(SelfSupervisedTrainer):
    """Trains the planned network to embed pixels; subclasses name the loss and bring the data."""

    diagnostics = DIAGNOSTICS

    # ----------------------------------------------------------------------------------------------- network and loss

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The planned network with a projection head."""
        planned = nnUNetTrainer.build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        config = read_config(configuration_manager, f"plans {plans_manager.plans_name}")
        return build_pixel_embedder(planned, config.pretraining)

    @property
    def embedder(self) -> PixelEmbedder:
        """The network without the wrappers of DDP and torch.compile."""
        return unwrap(self.network)

    def _build_loss(self) -> nn.Module:
        return build_loss(self.loss_name, self.config.pretraining)

    # ----------------------------------------------------------------------------------------------------------- steps

    def _embed(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings of the paired pixels of both views, each (N, d)."""
        return self.network(*self.tensors_of(batch, "images", "points")).chunk(2)

    def compute_loss(self, batch: dict) -> torch.Tensor:
        """The loss of the paired pixels."""
        return self.loss(*self._embed(batch))

    def validation_step(self, batch: dict) -> dict:
        """SSL loss and diagnostics on one batch of the validation cases."""
        with self.autocast():
            z_1, z_2 = self._embed(batch)
            loss = self.loss(z_1, z_2)
        return {"loss": loss, **summarise(z_1, z_2)}
