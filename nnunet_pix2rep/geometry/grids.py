"""Random spatial transforms, and the coordinates that they map.

Coordinates are normalized: [-1, 1] spans a view from the outer edge of its first voxel to the outer edge of its last
one (``align_corners=False``), and the last axis of a tensor of points is ordered (x, y[, z]) as
``torch.nn.functional.grid_sample`` wants it, so the *last* array axis comes first.

A transform phi takes a point u of view 2 to the point phi(u) of view 1 that shows the same tissue:
``phi(u) = matrix @ (u + displacement(u)) + shift``. The displacement is a sum of uniform cubic B-splines (Rueckert et
al., IEEE TMI 1999), evaluated exactly at any point, so a warped image and a mapped point always agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch


def identity_axis(length: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normalized coordinates of the voxel centers along one axis, shape (length,).

    >>> identity_axis(4)
    tensor([-0.7500, -0.2500,  0.2500,  0.7500])
    """
    return (torch.arange(length, dtype=dtype) * 2 + 1) / length - 1


def identity_grid(size: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Normalized coordinates of all voxel centers.

    Args:
        size: Array shape (H, W) or (Z, H, W).
        dtype: Type of the result.

    Returns:
        Shape (*size, D), last axis (x, y[, z]).

    >>> identity_grid((1, 2))
    tensor([[[-0.5000,  0.0000],
             [ 0.5000,  0.0000]]])
    """
    axes = torch.meshgrid(*[identity_axis(length, dtype) for length in size], indexing="ij")
    return torch.stack(axes[::-1], dim=-1)


def bspline_weights(coordinates: torch.Tensor, num_coefficients: int) -> torch.Tensor:
    """Weights of the coefficients of a uniform cubic B-spline at given coordinates along one axis.

    All but the outermost coefficient on either side lie evenly from -1 to 1. Coordinates outside [-1, 1] take the value
    at the border. A single coefficient stands for a function that is constant along the axis.

    Args:
        coordinates: Shape (N,), normalized.
        num_coefficients: K, 1 or at least 4.

    Returns:
        Shape (N, K); every row sums to 1.
    """
    if num_coefficients == 1:
        return torch.ones(len(coordinates), 1, dtype=coordinates.dtype)
    num_intervals = num_coefficients - 3
    position = (coordinates.clamp(-1, 1) + 1) / 2 * num_intervals
    interval = position.floor().clamp(0, num_intervals - 1)
    t = position - interval
    basis = torch.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3], dim=1) / 6
    weights = torch.zeros(len(coordinates), num_coefficients, dtype=coordinates.dtype)
    return weights.scatter_(1, interval.long()[:, None] + torch.arange(4), basis)


@lru_cache(maxsize=64)
def _weights_of_voxels(length: int, num_coefficients: int) -> torch.Tensor:
    """:func:`bspline_weights` of all voxel centers along an axis, shape (length, K). Shared: not to be changed."""
    return bspline_weights(identity_axis(length), num_coefficients)


@dataclass(frozen=True)
class SpatialTransform:
    """One transform phi from view 2 to view 1, for 2D or 3D (D axes).

    Attributes:
        matrix: Shape (D, D), acts on (x, y[, z]).
        shift: Shape (D,).
        splines: B-spline coefficients of the displacement, each of shape (D, [Kz,] Ky, Kx), normalized coordinates.
    """

    matrix: torch.Tensor
    shift: torch.Tensor
    splines: tuple[torch.Tensor, ...] = ()

    @property
    def dimension(self) -> int:
        """2 or 3."""
        return len(self.shift)

    def displacement(self, points: torch.Tensor) -> torch.Tensor:
        """The displacement at points of view 2; shapes (N, D) -> (N, D)."""
        total = torch.zeros_like(points)
        for spline in self.splines:
            field = spline.to(points.dtype)[None]  # (1, D, [Kz,] Ky, Kx), contracted from the first spatial axis on
            for axis, num_coefficients in enumerate(spline.shape[1:]):
                weights = bspline_weights(points[:, self.dimension - 1 - axis], num_coefficients)
                shape = (len(weights), 1, num_coefficients) + (1,) * (field.ndim - 3)
                field = (field * weights.view(shape)).sum(dim=2)
            total = total + field
        return total

    def map_points(self, points: torch.Tensor) -> torch.Tensor:
        """phi: points of view 2 to points of view 1; shapes (N, D) -> (N, D)."""
        return (points + self.displacement(points)) @ self.matrix.to(points.dtype).T + self.shift.to(points.dtype)

    def grid(self, size: Sequence[int]) -> torch.Tensor:
        """phi of all voxel centers of view 2, of array shape ``size``; shape (*size, D).

        The same as ``map_points`` of the identity grid, but axis by axis. Along the last one, phi is a product
        of matrices, where an affine function is two more coefficients beside those of the splines.

        Raises:
            ValueError: a spline has another number of axes.
        """
        last_axis = identity_axis(size[-1])
        coefficients, values = (
            list(self._affine_along_last_axis(size)),
            [last_axis[None], torch.ones_like(last_axis)[None]],
        )
        for spline in self.splines:
            if spline.ndim != len(size) + 1:
                raise ValueError(f"a spline of shape {tuple(spline.shape)} can't deform a patch of shape {tuple(size)}")
            field = (self.matrix @ spline.flatten(1)).view(spline.shape)
            for number, length in enumerate(size[:-1], 1):
                weights = _weights_of_voxels(length, spline.shape[number])
                field = torch.tensordot(field, weights, dims=([number], [1])).movedim(-1, number)
            coefficients.append(field)
            values.append(_weights_of_voxels(size[-1], spline.shape[-1]).T)
        return (torch.cat(coefficients, dim=-1) @ torch.cat(values)).movedim(0, -1)

    def _affine_along_last_axis(self, size: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Slope and value at 0 of the affine part along the last array axis, each of shape (D, *size[:-1], 1)."""

        def per_coordinate(vector: torch.Tensor) -> torch.Tensor:
            return vector.view(-1, *[1] * len(size))

        origin = per_coordinate(self.shift).expand(-1, *size[:-1], 1)
        for number, length in enumerate(size[:-1]):
            along_axis = identity_axis(length).view(-1, *[1] * (len(size) - 1 - number))
            origin = origin + per_coordinate(self.matrix[:, self.dimension - 1 - number]) * along_axis
        return per_coordinate(self.matrix[:, 0]).expand_as(origin), origin


@dataclass(frozen=True)
class TransformRanges:
    """What a random transform is drawn from; lengths are in widths of the view.

    Attributes:
        rotation: Lowest and highest angle in radians, for each axis of rotation.
        mirror_axes: Array axes (0 is the first spatial one) that may be mirrored, each with probability 1/2.
        zoom: Lowest and highest width of view 2 in widths of view 1.
        translation: Largest shift along each axis.
        elastic_probability: Probability of a deformation.
        elastic_amplitudes: Largest shift of the control points of each B-spline grid.
        elastic_grid_sizes: Control points from edge to edge of the view, for each grid.
        in_plane_only: Leave the first array axis of a 3D patch alone but for mirroring (nnU-Net's
            ``do_dummy_2d_data_aug``).
    """

    rotation: tuple[float, float] = (0.0, 0.0)
    mirror_axes: tuple[int, ...] = ()
    zoom: tuple[float, float] = (1.0, 1.0)
    translation: float = 0.0
    elastic_probability: float = 0.0
    elastic_amplitudes: tuple[float, ...] = ()
    elastic_grid_sizes: tuple[int, ...] = (5, 9)
    in_plane_only: bool = False


def draw_transform(ranges: TransformRanges, size: Sequence[int], generator: np.random.Generator) -> SpatialTransform:
    """Draws a random transform between two views of array shape ``size``.

    Rotations are rigid in voxels, as nnU-Net's, whatever the shape of the view.
    """
    dimension = len(size)
    num_moving = dimension - 1 if ranges.in_plane_only else dimension  # moving axes come first in (x, y[, z])
    matrix = np.eye(dimension)
    matrix[:num_moving, :num_moving] = _draw_rotation(ranges.rotation, num_moving, generator) * generator.uniform(
        *ranges.zoom
    )
    half_size = np.array(size[::-1], dtype=float) / 2
    matrix = matrix * half_size[None, :] / half_size[:, None]
    mirrored = [axis for axis in ranges.mirror_axes if axis < dimension and generator.random() < 0.5]
    for axis in mirrored:
        matrix[:, dimension - 1 - axis] *= -1
    shift = np.zeros(dimension)
    shift[:num_moving] = generator.uniform(-2 * ranges.translation, 2 * ranges.translation, num_moving)
    return SpatialTransform(
        torch.tensor(matrix, dtype=torch.float32),
        torch.tensor(shift, dtype=torch.float32),
        _draw_splines(ranges, dimension, num_moving, generator),
    )


def _draw_rotation(limits: tuple[float, float], dimension: int, generator: np.random.Generator) -> np.ndarray:
    """A rotation matrix of shape (D, D): one angle in 2D, one about each axis in 3D."""
    matrix = np.eye(dimension)
    planes = [(0, 1)] if dimension == 2 else [(1, 2), (0, 2), (0, 1)]
    for first, second in planes:
        angle = generator.uniform(*limits)
        plane = np.eye(dimension)
        plane[[first, second], [first, second]] = np.cos(angle)
        plane[first, second], plane[second, first] = -np.sin(angle), np.sin(angle)
        matrix = matrix @ plane
    return matrix


def _draw_splines(
    ranges: TransformRanges, dimension: int, num_moving: int, generator: np.random.Generator
) -> tuple[torch.Tensor, ...]:
    if generator.random() >= ranges.elastic_probability:
        return ()
    splines = []
    for grid_size, amplitude in zip(ranges.elastic_grid_sizes, ranges.elastic_amplitudes, strict=False):
        shape = (1,) * (dimension - num_moving) + (grid_size + 2,) * num_moving
        coefficients = np.zeros((dimension, *shape))
        coefficients[:num_moving] = generator.uniform(-2 * amplitude, 2 * amplitude, (num_moving, *shape))
        splines.append(torch.tensor(coefficients, dtype=torch.float32))
    return tuple(splines)
