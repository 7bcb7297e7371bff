"""Which pixels are compared, and their features."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import grid_sample

from nnunet_pix2rep.geometry.warp import valid_points

CANDIDATES_PER_POINT = 8


def draw_point_pairs(
    grid: torch.Tensor, image_box: torch.Tensor, num_points: int, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Draws pairs of points that show the same tissue in two views.

    Points of view 2 are voxel centres, drawn without repetition as long as enough of them are valid.

    Args:
        grid: Shape (*S, D): the points of view 1 that the voxel centres of view 2 are mapped to.
        image_box: Shape (2, D), see :func:`nnunet_pix2rep.geometry.warp.valid_points`.
        num_points: Number m of pairs.
        generator: Source of randomness.

    Returns:
        Points of view 1 and of view 2, normalised, each of shape (m, D); or None where none of the candidates is valid.
    """
    size = grid.shape[:-1]
    num_voxels = int(np.prod(size))
    num_candidates = min(CANDIDATES_PER_POINT * num_points, num_voxels)
    candidates = generator.choice(num_voxels, num_candidates, replace=False)
    index = np.stack(np.unravel_index(candidates, size)[::-1], axis=-1)
    points_2 = torch.from_numpy((index * 2 + 1) / np.array(size[::-1]) - 1).float()
    points_1 = grid.flatten(0, -2)[torch.from_numpy(candidates)]
    valid = valid_points(points_1, image_box).nonzero().flatten()
    if len(valid) == 0:
        return None
    chosen = valid[torch.arange(num_points) % len(valid)]
    return points_1[chosen], points_2[chosen]


def features_at_points(feature_map: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Features at points, linear between voxel centres and constant beyond the outermost ones.

    Args:
        feature_map: Shape (B, C, *S), S with D axes.
        points: Normalised, shape (B, m, D).

    Returns:
        Shape (B, m, C), type of ``feature_map``.
    """
    dimension = points.shape[-1]
    grid = points.reshape(*points.shape[:2], *[1] * (dimension - 1), dimension).to(feature_map.dtype)
    sampled = grid_sample(feature_map, grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.flatten(2).transpose(1, 2)
