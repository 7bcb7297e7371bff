"""From feature maps to the loss: as this package does it, and densely, as the paper defines it.

Both have the same head, loss, images and pixel pairs. The dense path is a reference: all pixels are projected, all
features of view 1 warped, all pixels normalized, and only then are some of them taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from nnunet_pix2rep.geometry.grids import TransformRanges, draw_transform, identity_grid
from nnunet_pix2rep.projection_head import ProjectionHead

# nnU-Net's and this package's defaults for square 2D patches; what exactly is drawn does not matter for the cost.
RANGES = TransformRanges(
    rotation=(-np.pi, np.pi), mirror_axes=(0, 1), zoom=(0.5, 1.25), elastic_probability=1.0, elastic_amplitudes=(0.06,)
)


@dataclass(frozen=True)
class Pairs:
    """Which pixels are compared.

    Attributes:
        grid: Shape (B, *S, D), the points of view 1 that the voxel centers of view 2 are mapped to.
        voxels: Shape (B, m), index of the sampled voxels of view 2 among all of its voxels.
    """

    grid: torch.Tensor
    voxels: torch.Tensor

    def points(self) -> torch.Tensor:
        """The sampled points, first those of all views 1, then those of all views 2; shape (2B, m, D)."""
        batch, *size, dimension = self.grid.shape
        index = self.voxels[..., None].expand(-1, -1, dimension)
        points_1 = self.grid.reshape(batch, -1, dimension).gather(1, index)
        centers = identity_grid(size).to(self.grid).reshape(1, -1, dimension).expand(batch, -1, -1)
        return torch.cat([points_1, centers.gather(1, index)])

    def to(self, device: torch.device) -> Pairs:
        """The same on a device."""
        return Pairs(self.grid.to(device), self.voxels.to(device))


def draw_pairs(batch_size: int, size: Sequence[int], points_per_image: int, seed: int = 0) -> Pairs:
    """Random transforms and voxels; voxels repeat only where more are wanted than there are."""
    generator = np.random.default_rng(seed)
    ranges = RANGES if len(size) == 2 else TransformRanges(rotation=(-0.5, 0.5), mirror_axes=(0, 1, 2))
    grid = torch.stack([draw_transform(ranges, size, generator).grid(size) for _ in range(batch_size)])
    num_voxels = int(np.prod(size))
    order = [generator.permutation(num_voxels) for _ in range(batch_size)]
    return Pairs(grid.contiguous(), torch.from_numpy(np.stack([np.resize(part, points_per_image) for part in order])))


def sampled_path(
    maps: Sequence[torch.Tensor], points: torch.Tensor, head: ProjectionHead, loss: nn.Module
) -> torch.Tensor:
    """The loss as this package works it out, see :class:`nnunet_pix2rep.pretraining.PixelEmbedder`.

    Args:
        maps: Feature maps of views 1, then of views 2, each of shape (2B, C_i, *S_i).
        points: Shape (2B, m, D).
        head: Takes the sum of the C_i.
        loss: Takes two tensors (B * m, d).
    """
    return loss(*head.at_points(maps, points).chunk(2))


def dense_path(maps: Sequence[torch.Tensor], pairs: Pairs, head: ProjectionHead, loss: nn.Module) -> torch.Tensor:
    """The loss by its definition: project all pixels, warp all features, normalize, sample.

    Args:
        maps: As in :func:`sampled_path`; all are brought to full resolution.
        pairs: Transforms and sampled voxels, of full resolution.
        head: Applied to every pixel, as 1x1 convolutions.
        loss: Takes two tensors (B * m, d).
    """
    size, dimension = pairs.grid.shape[1:-1], pairs.grid.shape[-1]
    mode = "bilinear" if dimension == 2 else "trilinear"
    features = torch.cat([functional.interpolate(feature_map, size, mode=mode) for feature_map in maps], dim=1)
    embeddings_1, embeddings_2 = project_all(features, head).chunk(2)
    embeddings_1 = functional.grid_sample(embeddings_1, pairs.grid, padding_mode="border", align_corners=False)
    sampled = []
    for embeddings in (embeddings_1, embeddings_2):
        normalized = functional.normalize(embeddings, dim=1).flatten(2)
        index = pairs.voxels[:, None].expand(-1, normalized.shape[1], -1)
        sampled.append(normalized.gather(2, index).transpose(1, 2).flatten(0, 1))
    return loss(*sampled)


def project_all(features: torch.Tensor, head: ProjectionHead) -> torch.Tensor:
    """The projection head as 1x1 convolutions, with its own weights; (B, C, *S) -> (B, d, *S)."""
    convolve = functional.conv2d if features.ndim == 4 else functional.conv3d
    ones = [1] * (features.ndim - 2)
    first, norm, activation, second = head
    assert isinstance(first, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    assert isinstance(second, nn.Linear)
    momentum = norm.momentum or 0.0
    hidden = convolve(features, first.weight.view(*first.weight.shape, *ones))
    hidden = activation(
        functional.batch_norm(
            hidden, norm.running_mean, norm.running_var, norm.weight, norm.bias, norm.training, momentum, norm.eps
        )
    )
    return convolve(hidden, second.weight.view(*second.weight.shape, *ones), second.bias)
