"""The projection head: a pixel-wise MLP, dropped after pretraining."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn.functional import linear

from nnunet_pix2rep.sampling import features_at_points, interpolation_weights


class ProjectionHead(nn.Sequential):
    """Linear, BatchNorm, ReLU, Linear: a 1x1-convolution head (Pix2Rep), but for sampled pixels only.

    Args:
        in_channels: Channels of the pixel features.
        hidden_channels: Channels in between.
        out_channels: Channels of the embedding.
    """

    def __init__(self, in_channels: int, hidden_channels: int = 256, out_channels: int = 256):
        super().__init__(
            nn.Linear(in_channels, hidden_channels, bias=False),  # BatchNorm has the bias
            nn.BatchNorm1d(hidden_channels),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_channels, out_channels),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pixel features, shape (N, C), to embeddings, shape (N, d)."""
        return super().forward(features)

    def at_points(self, maps: Sequence[torch.Tensor], points: torch.Tensor) -> torch.Tensor:
        """Embeddings of the pixels at points: those of the joined features of all maps, but with less work.

        The first layer is linear, and so is what lies between the voxels of a map, so that either may come first. Where
        a map has few voxels, the layer is applied to these instead of the points.

        Args:
            maps: Shapes (B, C_i, *S_i); the sum of the C_i is ``in_channels``.
            points: Normalized, shape (B, m, D).

        Returns:
            Shape (B * m, d), image by image.
        """
        first, *others = self
        assert isinstance(first, nn.Linear)
        fine: list[tuple[torch.Tensor, torch.Tensor]] = []
        coarse: list[tuple[torch.Tensor, torch.Tensor]] = []
        for layer in zip(maps, torch.split(first.weight, [m.shape[1] for m in maps], dim=1), strict=True):
            (coarse if _is_coarse(layer[0], points) else fine).append(layer)
        hidden: torch.Tensor | None = None
        if fine:
            features = torch.cat([features_at_points(feature_map, points) for feature_map, _ in fine], dim=2)
            hidden = linear(features, torch.cat([weight for _, weight in fine], dim=1))
        for feature_map, weight in coarse:
            of_voxels = linear(feature_map.flatten(2).mT, weight)
            # Places are worked out in float32; under AMP only the weights are rounded, as the features are.
            shares = interpolation_weights(points, feature_map.shape[2:]).to(of_voxels.dtype)
            hidden = shares @ of_voxels if hidden is None else torch.baddbmm(hidden, shares, of_voxels)
        assert hidden is not None, "no feature maps"
        embeddings = hidden.flatten(0, 1)
        for module in others:
            embeddings = module(embeddings)
        return embeddings


def _is_coarse(feature_map: torch.Tensor, points: torch.Tensor) -> bool:
    """Whether a linear layer of the voxels and sampling by a product of matrices have fewer products than the layer of
    the points: V C + m V against m C for each image and channel of the output.
    """
    num_points, channels, num_voxels = points.shape[1], feature_map.shape[1], feature_map.shape[2:].numel()
    return num_voxels * (channels + num_points) < num_points * channels
