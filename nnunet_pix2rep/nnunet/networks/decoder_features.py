"""Pixel features of the network that nnU-Net planned.

Reaches inside the U-Nets of dynamic_network_architectures 0.4.4 (architectures/unet.py,
building_blocks/unet_decoder.py): their decoders are walked stage by stage as ``UNetDecoder.forward`` does, leaving out
the segmentation layers.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch._dynamo import OptimizedModule
from torch.nn.parallel import DistributedDataParallel

from nnunet_pix2rep.config import PretrainingConfig
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.pretraining import PixelEmbedder

SUPPORTED_ARCHITECTURES = ("PlainConvUNet", "ResidualEncoderUNet", "ResidualUNet")


UNet = Any
"""A network that passes :func:`check_architecture`. torch's type hints have Tensor | Module for what a module holds."""


def check_architecture(network: nn.Module) -> None:
    """Raises UserError unless the network is one of nnU-Net's U-Nets; the message names its class."""
    name = type(network).__name__
    decoder = getattr(network, "decoder", None)
    has_parts = hasattr(network, "encoder") and all(
        hasattr(decoder, part) for part in ("stages", "transpconvs", "seg_layers")
    )
    if name not in SUPPORTED_ARCHITECTURES or not has_parts:
        raise UserError(
            "Pix2Rep needs the decoder of a U-Net, but the plans ask for the architecture "
            f"{type(network).__module__}.{name}. Supported: {', '.join(SUPPORTED_ARCHITECTURES)}. Use a plans file "
            "with one of them."
        )


class DecoderFeatures(nn.Module):
    """The feature maps of a planned U-Net's decoder, those under its segmentation layers.

    Args:
        planned: A PlainConvUNet, ResidualEncoderUNet or ResidualUNet; used as it is.
        features: ``hypercolumn`` for all decoder stages, coarsest first, or ``last_stage``.

    Raises:
        UserError: any other architecture.
    """

    def __init__(self, planned: nn.Module, features: str):
        super().__init__()
        check_architecture(planned)
        self.planned: UNet = planned
        self.features = features

    @property
    def num_channels(self) -> int:
        """Channels of all returned maps together."""
        channels = [layer.in_channels for layer in self.planned.decoder.seg_layers]
        return sum(channels) if self.features == "hypercolumn" else channels[-1]

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Images (B, C, *S) to feature maps (B, C_i, *S_i)."""
        skips = self.planned.encoder(images)
        decoder = self.planned.decoder
        current = skips[-1]
        maps = []
        for stage, (upsample, convolve) in enumerate(zip(decoder.transpconvs, decoder.stages, strict=True)):
            current = convolve(torch.cat((upsample(current), skips[-(stage + 2)]), dim=1))
            maps.append(current)
        return maps if self.features == "hypercolumn" else maps[-1:]


def build_pixel_embedder(planned: UNet, config: PretrainingConfig) -> PixelEmbedder:
    """Puts the projection head on a planned network.

    The segmentation layers have no part in the pretraining and are frozen, since DistributedDataParallel takes a
    parameter without gradient for an error.

    Raises:
        UserError: an architecture without a U-Net's decoder.
    """
    feature_network = DecoderFeatures(planned, config.sampling.features)
    planned.decoder.seg_layers.requires_grad_(False)
    return PixelEmbedder(feature_network, feature_network.num_channels, config)


def unwrap(network: nn.Module) -> Any:
    """The module inside DistributedDataParallel and torch.compile."""
    if isinstance(network, DistributedDataParallel):
        network = network.module
    return network._orig_mod if isinstance(network, OptimizedModule) else network
