"""The network and the loss of Pix2Rep.

The planned network gets a projection head; its loss compares paired pixels of two views. Read against nnunetv2 2.8.1,
training/nnUNetTrainer/nnUNetTrainer.py.
"""

from __future__ import annotations

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_pix2rep.diagnostics.embeddings import summarise
from nnunet_pix2rep.diagnostics.shortcuts import ProbeRows, probe_shortcuts
from nnunet_pix2rep.losses.pairs import PairLoss
from nnunet_pix2rep.nnunet.networks.decoder_features import build_pixel_embedder, unwrap
from nnunet_pix2rep.nnunet.plans.plans_file import read_config
from nnunet_pix2rep.nnunet.training.pretraining.logger import DIAGNOSTICS
from nnunet_pix2rep.nnunet.training.pretraining.self_supervised import SelfSupervisedTrainer
from nnunet_pix2rep.pretraining import PixelEmbedder


class PixelEmbeddingTrainer(SelfSupervisedTrainer):
    """Trains the planned network to embed pixels; subclasses name the loss and bring the data."""

    diagnostics = DIAGNOSTICS
    loss_class: type[PairLoss]

    @property
    def loss_name(self) -> str:
        """Name of the loss, for the record."""
        return self.loss_class.name

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
        return self.loss_class.from_config(self.config.pretraining)

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
        if not loss.isfinite():
            self.fail_on_loss(float(loss), batch["keys"])
        views_2, points_2 = (batch[name].chunk(2)[1].to(self.device) for name in ("images", "points"))
        rows = ProbeRows.of_batch(z_1, views_2, points_2, batch["keys"])
        return {"loss": loss, "rows": rows, **summarise(z_1, z_2)}

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """Adds what is measured over all batches of the epoch at once."""
        shortcuts = probe_shortcuts(ProbeRows.joined([output["rows"] for output in val_outputs]))
        measured = {name: torch.tensor(value, device=self.device) for name, value in shortcuts.items()}
        super().on_validation_epoch_end([output | measured for output in val_outputs])
