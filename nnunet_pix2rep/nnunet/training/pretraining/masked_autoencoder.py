"""A masked autoencoder on the planned network, the peer that Pix2Rep is measured against.

Images, folds, optimizer, schedule, length, checkpoints and hand-over are those of Pix2Rep's pretraining; only patches,
head and loss differ, see :mod:`nnunet_pix2rep.masked_autoencoder`. (nnssl trains its own with SGD.)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn

from nnunet_pix2rep.geometry.grids import TransformRanges
from nnunet_pix2rep.masked_autoencoder import (
    MaskedPatch,
    MaskedPatchMaker,
    MaskedReconstructor,
    block_size_of,
    explained_variance,
    masked_squared_error,
    standardize,
)
from nnunet_pix2rep.nnunet.loading.patch_loader import ViewPairLoader, tensors_of
from nnunet_pix2rep.nnunet.networks.decoder_features import DecoderFeatures
from nnunet_pix2rep.nnunet.training.pretraining.pretrain import PretrainTrainer

NO_NORMALIZATION = "NoNormalization"  # nnU-Net's scheme for channels that dataset.json names noNorm
NNUNET_ZOOM = (0.7, 1.4)  # nnunetv2 2.8.1, nnUNetTrainer.get_training_transforms


class MaskedPatchLoader(ViewPairLoader):
    """Batches of masked patches; drawn as view pairs are."""

    def collate(self, patches: Sequence[MaskedPatch]) -> dict[str, torch.Tensor]:
        """``images`` (B, C, *S) float32, ``visible`` and ``counted`` (B, 1, *S) bool."""
        names = {"images": "image", "visible": "visible", "counted": "counted"}
        return {key: torch.stack([getattr(patch, name) for patch in patches]) for key, name in names.items()}


class nnUNetTrainerMaskedAutoencoderPretrain(PretrainTrainer):
    """Masked autoencoder: see the module."""

    loss_name = "masked_squared_error"
    head_name = "reconstruction_layer"
    parts_of_settings = ("masked_autoencoder",)
    diagnostics = ("explained_variance",)

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The planned network with a reconstruction layer instead of its segmentation layers.

        These have no part in the pretraining and are frozen, since DistributedDataParallel takes a parameter without
        gradient for an error.
        """
        planned = nnUNetTrainer.build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        features = DecoderFeatures(planned, "last_stage")
        planned.decoder.seg_layers.requires_grad_(False)
        dimension = len(configuration_manager.patch_size)
        return MaskedReconstructor(features, features.num_channels, num_input_channels, dimension)

    def build_loading(self, augmentation: tuple) -> tuple[type[ViewPairLoader], MaskedPatchMaker]:
        """Loaders of masked patches, moved as nnU-Net moves them."""
        rotation, in_plane_only, _, mirror_axes = augmentation
        settings = self.config.pretraining.masked_autoencoder
        if self._unnormalized.any():
            self.print_to_log_file(
                f"WARNING: the plans do not normalize {int(self._unnormalized.sum())} channel(s) ({NO_NORMALIZATION}), "
                "whose intensities would set the scale of the loss: what the network has to paint is standardized in "
                "every patch. Blanked voxels are 0, which is the mean in normalized images only; a channel "
                "name that nnU-Net normalizes, such as MRI in dataset.json, is the better way."
            )
        ranges = TransformRanges(
            rotation=rotation, mirror_axes=mirror_axes, zoom=NNUNET_ZOOM, translation=0.0, in_plane_only=in_plane_only
        )
        block_size = block_size_of(self.configuration_manager.pool_op_kernel_sizes, settings.block_size)
        patch_size = self.configuration_manager.patch_size
        return MaskedPatchLoader, MaskedPatchMaker(patch_size, ranges, block_size, settings.mask_ratio)

    def _build_loss(self) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
        return masked_squared_error

    @cached_property
    def _unnormalized(self) -> torch.Tensor:
        """Which channels the plans leave as they are; bool, shape (C,).

        Put on the device once: a step that copied it there would wait for the device.
        """
        schemes = self.configuration_manager.normalization_schemes
        return torch.tensor([scheme == NO_NORMALIZATION for scheme in schemes], device=self.device)

    def _reconstruct(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        images, visible, counted = tensors_of(batch, self.device, "images", "visible", "counted")
        return self.network(images * visible), standardize(images, self._unnormalized), counted

    def compute_loss(self, batch: dict) -> torch.Tensor:
        """The squared error in the blanked voxels."""
        return self.loss(*self._reconstruct(batch))

    def validation_step(self, batch: dict) -> dict:
        """The same, and the part of the variance that is explained."""
        with self.autocast():
            reconstructed = self._reconstruct(batch)
            loss = self.loss(*reconstructed)
        return {"loss": loss, "explained_variance": explained_variance(*reconstructed)}
