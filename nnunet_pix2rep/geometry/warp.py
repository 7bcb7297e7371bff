"""Warping images, and which mapped points count.

Conventions: see :mod:`nnunet_pix2rep.geometry.grids`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch.nn.functional import grid_sample


def warp(image: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Samples an image at a grid of points, linearly; zero outside.

    Args:
        image: Shape (C, *S), S with D axes.
        grid: Points of ``image``, normalized, shape (*T, D).

    Returns:
        Shape (C, *T).
    """
    return grid_sample(
        image[None], grid[None].to(image.dtype), mode="bilinear", padding_mode="zeros", align_corners=False
    )[0]


@dataclass(frozen=True)
class Placement:
    """Where view 1 lies in the larger context patch: its point u is the context's point ``scale * u + offset``.

    Attributes:
        scale: Shape (D,), last axis (x, y[, z]).
        offset: Shape (D,).
    """

    scale: torch.Tensor
    offset: torch.Tensor

    @classmethod
    def of_crop(cls, start: Iterable[float], size: Iterable[float], context_size: Iterable[int]) -> Placement:
        """The placement of a box of the context.

        Args:
            start: First edge of the box along each array axis, in voxels of the context.
            size: Width of the box along each array axis, in voxels of the context.
            context_size: Array shape of the context.
        """
        start_, size_, context = (
            torch.tensor(list(values)[::-1], dtype=torch.float32) for values in (start, size, context_size)
        )
        return cls(size_ / context, (2 * start_ + size_) / context - 1)

    def to_context(self, points: torch.Tensor) -> torch.Tensor:
        """Points of view 1 as points of the context; shape (..., D)."""
        return torch.addcmul(self.offset, points, self.scale)

    def from_context(self, points: torch.Tensor) -> torch.Tensor:
        """Points of the context as points of view 1; shape (..., D)."""
        return (points - self.offset) / self.scale


def valid_points(points_1: torch.Tensor, image_box: torch.Tensor) -> torch.Tensor:
    """Which points of view 1 count: those inside the view and not in padding.

    A point of view 2 shows the tissue at phi(u), so it lies in padding exactly if phi(u) does.

    Args:
        points_1: Shape (N, D), phi(u) in coordinates of view 1.
        image_box: Shape (2, D), lower and upper corner of the image (the part of the patch that is not padding) in
            coordinates of view 1.

    Returns:
        Bool, shape (N,).

    >>> left_half = torch.tensor([[-1.0, -1.0], [0.0, 1.0]])
    >>> valid_points(torch.tensor([[-0.5, 0.0], [0.5, 0.0], [-0.5, 1.1]]), left_half)
    tensor([ True, False, False])
    """
    lower = image_box[0].clamp(min=-1)
    upper = image_box[1].clamp(max=1)
    return ((points_1 >= lower) & (points_1 <= upper)).all(dim=-1)
