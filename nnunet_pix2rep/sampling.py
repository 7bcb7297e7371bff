"""Which pixels are compared, and their features."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch.nn.functional import grid_sample

from nnunet_pix2rep.geometry.warp import valid_points

CANDIDATES_PER_POINT = 4  # enough in nearly all views, of which a half or more is common


def draw_point_pairs(
    grid: torch.Tensor, image_box: torch.Tensor, num_points: int, generator: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Draws pairs of points that show the same tissue in two views.

    Points of view 2 are voxel centers. None is drawn twice where enough are valid, else all are drawn evenly often.

    Args:
        grid: Shape (*S, D): the points of view 1 that the voxel centers of view 2 are mapped to.
        image_box: Shape (2, D), see :func:`nnunet_pix2rep.geometry.warp.valid_points`.
        num_points: Number m of pairs.
        generator: Source of randomness.

    Returns:
        Points of view 1 and of view 2, normalized, each of shape (m, D); or None where no voxel is valid.
    """
    size = grid.shape[:-1]
    points_1 = grid.flatten(0, -2)

    def valid_among(voxels: np.ndarray) -> np.ndarray:
        return voxels[valid_points(points_1[torch.from_numpy(voxels)], image_box).numpy()]

    # The valid ones of some voxels in random order are as random as a draw from all valid ones, and sooner found.
    num_candidates = min(len(points_1), CANDIDATES_PER_POINT * num_points)
    drawn = valid_among(generator.choice(len(points_1), num_candidates, replace=False))[:num_points]
    if len(drawn) < num_points and num_candidates < len(points_1):
        valid = valid_among(np.arange(len(points_1)))
        drawn = generator.choice(valid, min(num_points, len(valid)), replace=False) if len(valid) > 0 else valid
    if len(drawn) == 0:
        return None
    chosen = np.resize(drawn, num_points)
    index = np.stack(np.unravel_index(chosen, size)[::-1], axis=-1)
    points_2 = torch.from_numpy((index * 2 + 1) / np.array(size[::-1]) - 1).float()
    return points_1[torch.from_numpy(chosen)], points_2


def features_at_points(feature_map: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    """Features at points, linear between voxel centers and constant beyond the outermost ones.

    Args:
        feature_map: Shape (B, C, *S), S with D axes.
        points: Normalized, shape (B, m, D).

    Returns:
        Shape (B, m, C), type of ``feature_map``. Computed in float32 at least: coordinates in half precision are off
        by a quarter of a voxel in a view of 512 voxels, and in bfloat16 even lie beyond its edge.
    """
    dimension = points.shape[-1]
    dtype = torch.promote_types(feature_map.dtype, torch.float32)
    grid = points.reshape(*points.shape[:2], *[1] * (dimension - 1), dimension).to(dtype)
    sampled = grid_sample(feature_map.to(dtype), grid, mode="bilinear", padding_mode="border", align_corners=False)
    return sampled.to(feature_map.dtype).flatten(2).transpose(1, 2)


def interpolation_weights(points: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """What each voxel counts in the features at each point; its product with the voxels' features gives these.

    The product equals :func:`features_at_points`, and is worth while for maps of few voxels.

    Args:
        points: Normalized, shape (B, m, D).
        size: Array shape *S of the map, D axes.

    Returns:
        Shape (B, m, product of S), type of ``points``; every row has the sum 1.

    >>> interpolation_weights(torch.tensor([[[-0.5], [0.25]]]), (2,))  # the first voxel's center; between the two
    tensor([[[1.0000, 0.0000],
             [0.2500, 0.7500]]])
    """
    weights = points.new_ones(*points.shape[:2], 1)
    for axis, length in enumerate(reversed(size)):
        place = (((points[..., axis, None] + 1) * length - 1) / 2).clamp(0, length - 1)
        along_axis = (1 - (place - torch.arange(length, device=points.device)).abs()).clamp(min=0)
        weights = (along_axis[..., :, None] * weights[..., None, :]).flatten(2)
    return weights
