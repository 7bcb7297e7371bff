"""The trainers of Pix2Rep: the planned network gets a projection head; its loss compares paired pixels of two views."""

from __future__ import annotations

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_pix2rep.diagnostics.embeddings import MAX_ROWS, summarize
from nnunet_pix2rep.diagnostics.monitoring import PretrainingWarning, find_warnings
from nnunet_pix2rep.diagnostics.shortcuts import ProbeRows, probe_shortcuts
from nnunet_pix2rep.losses.barlow_twins import BarlowTwinsLoss
from nnunet_pix2rep.losses.info_nce import InfoNCELoss
from nnunet_pix2rep.losses.pairs import PairLoss
from nnunet_pix2rep.nnunet.loading.patch_loader import ViewPairLoader, tensors_of
from nnunet_pix2rep.nnunet.loading.view_maker import build_view_maker, points_per_patch
from nnunet_pix2rep.nnunet.networks.decoder_features import build_pixel_embedder, unwrap
from nnunet_pix2rep.nnunet.plans.plans_file import read_config
from nnunet_pix2rep.nnunet.training.pretraining.feature_snapshots import (
    central_patches,
    is_picture_due,
    picture_file,
    plot_snapshot,
)
from nnunet_pix2rep.nnunet.training.pretraining.logger import DIAGNOSTICS
from nnunet_pix2rep.nnunet.training.pretraining.pretrain import PretrainTrainer
from nnunet_pix2rep.pretraining import PixelEmbedder
from nnunet_pix2rep.views import ViewMaker


class Pix2RepPretrainTrainer(PretrainTrainer):
    """Pretraining with paired pixels; subclasses name the loss as their ``loss_class``."""

    diagnostics = DIAGNOSTICS
    head_name = "projection_head"
    parts_of_settings = ("views", "sampling", "head")
    loss_class: type[PairLoss]

    @property
    def loss_name(self) -> str:
        """Name of the loss, for the record."""
        return self.loss_class.name

    # ------------------------------------------------------------------------------------------ network, loss and data

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

    def build_loading(self, augmentation: tuple) -> tuple[type[ViewPairLoader], ViewMaker]:
        """Loaders of view pairs."""
        return ViewPairLoader, build_view_maker(self.config.pretraining, self.configuration_manager, augmentation)

    # ----------------------------------------------------------------------------------------------------------- steps

    def _embed(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings of the paired pixels of both views, each (N, d)."""
        return self.network(*tensors_of(batch, self.device, "images", "points")).chunk(2)

    def compute_loss(self, batch: dict) -> torch.Tensor:
        """The loss of the paired pixels."""
        return self.loss(*self._embed(batch))

    def memory_use(self) -> str:
        """Adds the second view and the pixel pairs."""
        return (
            f"{super().memory_use()}, two views of each, and {self.config.pretraining.sampling.num_points} pixel pairs"
        )

    def memory_settings(self) -> str:
        """Adds the number of pixel pairs, which is in the ``pix2rep`` block."""
        return f"{super().memory_settings()}, or num_points (pix2rep, pretraining, sampling)"

    def validation_step(self, batch: dict) -> dict:
        """SSL loss and diagnostics on one batch of the validation cases."""
        with self.autocast():
            z_1, z_2 = self._embed(batch)
            loss = self.loss(z_1, z_2)
        if not loss.isfinite():
            self.fail_on_loss(float(loss), batch["keys"])
        views_2, points_2 = (batch[name].chunk(2)[1].to(self.device) for name in ("images", "points"))
        rows = ProbeRows.of_batch(z_1, views_2, points_2, batch["keys"])
        return {"loss": loss, "rows": rows, **summarize(z_1, z_2)}

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """Adds what is measured over all batches of the epoch at once."""
        shortcuts = probe_shortcuts(ProbeRows.joined([output["rows"] for output in val_outputs]))
        measured = {name: torch.tensor(value, device=self.device) for name, value in shortcuts.items()}
        super().on_validation_epoch_end([output | measured for output in val_outputs])

    # ---------------------------------------------------------------------------------------------------- what to watch

    def find_warnings(self) -> list[PretrainingWarning]:
        """Warnings of collapse and of shortcuts so far, by what is logged."""
        settings = self.config.pretraining
        pairs_per_batch = self.batch_size * points_per_patch(
            settings.sampling.num_points, self.configuration_manager.batch_size
        )
        return find_warnings(self.logger.get_checkpoint(), self.num_epochs, min(MAX_ROWS, pairs_per_batch), settings)

    def plot_features(self) -> None:
        """Every so many epochs and at the end, a picture of the features of the same validation patches."""
        done = self.current_epoch + 1
        if not is_picture_due(done, self.num_epochs, self.config.pretraining.picture_every):
            return
        names, patches = central_patches(self.get_cases()[1], self.configuration_manager.patch_size)
        title = f"Epoch {done}: {', '.join(names)}"
        plot_snapshot(self.embedder, patches, title, picture_file(self.output_folder, done))


class nnUNetTrainerPix2RepPretrain(Pix2RepPretrainTrainer):
    """Pixel InfoNCE: Pix2Rep, MIDL 2024, arXiv 2407.20395."""

    loss_class = InfoNCELoss


class nnUNetTrainerPix2RepV2Pretrain(Pix2RepPretrainTrainer):
    """Pixel Barlow Twins: Pix2Rep-v2, arXiv 2609.01427."""

    loss_class = BarlowTwinsLoss
