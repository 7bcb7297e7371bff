"""Masked autoencoding on a convolutional U-Net: blocks of a patch are blanked, the network paints them in.

Follows the dense masked autoencoder of nnssl (MIC-DKFZ/nnssl, masked_image_modeling/BaseMAETrainer.py; Wald et al., An
OpenMind for 3D medical vision self-supervised learning, arXiv 2412.17041): 75 % of the blocks of 16 voxels are set to
zero in the normalized image, the whole U-Net sees the rest with ordinary convolutions, and the squared error counts in
the blanked voxels alone; patches are mirrored, rotated (20 %) and scaled (20 %), intensities stay as they are. SparK
(Tian et al., ICLR 2023, arXiv 2301.03580) blanks 60 % and keeps blanked places empty with sparse convolutions; Models
Genesis (Zhou et al., arXiv 1908.06912) distorts and paints instead. Neither is followed.

Other than in nnssl, padding does not count, and a block is no wider than the stride of the network along its axis, so
that thick slices and small patches keep enough blocks.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from nnunet_pix2rep.geometry.grids import TransformRanges, draw_transform
from nnunet_pix2rep.geometry.warp import Placement, warp

ROTATION_PROBABILITY = ZOOM_PROBABILITY = 0.2


@dataclass(frozen=True)
class MaskedPatch:
    """A patch and where it is blanked.

    Attributes:
        image: Shape (C, *S), float32, not blanked yet.
        visible: Bool, shape (1, *S): what the network is shown.
        counted: Bool, shape (1, *S): what it has to paint in; blanked and not padding.
    """

    image: torch.Tensor
    visible: torch.Tensor
    counted: torch.Tensor


def block_size_of(strides: Sequence[Sequence[int]], largest: int) -> tuple[int, ...]:
    """Width of a block along each axis in voxels: the network's stride there, but no more than ``largest``.

    Args:
        strides: For each stage of the network the stride along each axis.
        largest: Upper limit.

    >>> block_size_of([(1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 4, 4)], 8)
    (4, 8, 8)
    """
    return tuple(min(largest, math.prod(along_axis)) for along_axis in zip(*strides, strict=True))


def draw_visible(
    size: Sequence[int], block_size: Sequence[int], mask_ratio: float, generator: np.random.Generator
) -> torch.Tensor:
    """Draws which blocks stay visible: always the same number, at least one of either kind.

    Args:
        size: Array shape of the patch.
        block_size: Width of a block along each axis; the last block of an axis may be cut off.
        mask_ratio: Part of the blocks to blank.
        generator: Source of randomness.

    Returns:
        Bool, shape ``size``.

    Raises:
        ValueError: the patch is a single block.
    """
    grid = [math.ceil(length / width) for length, width in zip(size, block_size, strict=True)]
    num_blocks = math.prod(grid)
    if num_blocks < 2:
        raise ValueError(f"a patch of {tuple(size)} voxels is a single block of {tuple(block_size)}")
    num_masked = min(max(round(mask_ratio * num_blocks), 1), num_blocks - 1)
    blocks = np.ones(num_blocks, dtype=bool)
    blocks[generator.permutation(num_blocks)[:num_masked]] = False
    visible = torch.from_numpy(blocks.reshape(grid))
    for axis, (length, width) in enumerate(zip(size, block_size, strict=True)):
        visible = visible.repeat_interleave(width, dim=axis).narrow(axis, 0, length)
    return visible.contiguous()


class MaskedPatchMaker:
    """Makes masked patches from context patches.

    Args:
        view_size: Array shape of the patches.
        ranges: What the spatial transforms are drawn from; rotation and zoom only now and then, see the module.
        block_size: Width of a block along each axis.
        mask_ratio: Part of the blocks to blank.
    """

    def __init__(self, view_size: Sequence[int], ranges: TransformRanges, block_size: Sequence[int], mask_ratio: float):
        self.view_size = tuple(int(length) for length in view_size)
        self.ranges = ranges
        self.block_size = tuple(block_size)
        self.mask_ratio = mask_ratio

    def __str__(self) -> str:
        return f"{self.mask_ratio:.0%} of the blocks of {' x '.join(map(str, self.block_size))} voxels are masked"

    def __call__(
        self,
        context: torch.Tensor,
        image_start: Sequence[int],
        image_stop: Sequence[int],
        generator: np.random.Generator,
    ) -> MaskedPatch:
        """Makes a masked patch.

        Args:
            context: Shape (C, *S_context), at least as large as the patch along each axis.
            image_start: First voxel of the context, along each array axis, that is not padding.
            image_stop: One beyond the last such voxel.
            generator: Source of randomness.
        """
        context_size = context.shape[1:]
        starts = [(whole - part) // 2 for whole, part in zip(context_size, self.view_size, strict=True)]
        placement = Placement.of_crop(starts, self.view_size, context_size)
        grid = placement.to_context(self._draw_grid(generator))
        image_in_context = Placement.of_crop(image_start, np.subtract(image_stop, image_start), context_size)
        corners = torch.stack([-torch.ones(len(context_size)), torch.ones(len(context_size))])
        lower, upper = image_in_context.to_context(corners)
        is_image = ((grid >= lower) & (grid <= upper)).all(dim=-1)
        visible = draw_visible(self.view_size, self.block_size, self.mask_ratio, generator)
        return MaskedPatch(warp(context, grid), visible[None], (is_image & ~visible)[None])

    def _draw_grid(self, generator: np.random.Generator) -> torch.Tensor:
        ranges = self.ranges
        if generator.random() >= ROTATION_PROBABILITY:
            ranges = replace(ranges, rotation=(0.0, 0.0))
        if generator.random() >= ZOOM_PROBABILITY:
            ranges = replace(ranges, zoom=(1.0, 1.0))
        return draw_transform(ranges, self.view_size, generator).grid(self.view_size)


class MaskedReconstructor(nn.Module):
    """A feature network with a 1x1 convolution that paints the image.

    Args:
        feature_network: Takes images (B, C, *S) to a list of feature maps, the last one (B, C', *S) in full resolution.
        num_channels: C'.
        image_channels: C.
        dimension: Number of spatial axes, 2 or 3.
    """

    def __init__(self, feature_network: nn.Module, num_channels: int, image_channels: int, dimension: int):
        super().__init__()
        self.feature_network = feature_network
        convolution = nn.Conv2d if dimension == 2 else nn.Conv3d
        self.head = convolution(num_channels, image_channels, kernel_size=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Blanked images (B, C, *S) to whole ones of the same shape."""
        return self.head(self.feature_network(images)[-1])


def standardize(images: torch.Tensor, channels: torch.Tensor) -> torch.Tensor:
    """Gives some channels of every image mean 0 and standard deviation 1; a constant channel becomes 0.

    Args:
        images: Shape (B, C, *S).
        channels: Bool, shape (C,): which to standardize; the others stay as they are.

    Returns:
        Shape (B, C, *S), float32.
    """
    values = images.float()
    axes = tuple(range(2, images.ndim))
    centered = values - values.mean(dim=axes, keepdim=True)
    deviation = centered.square().mean(dim=axes, keepdim=True).sqrt()
    standardized = torch.where(deviation > 0, centered / deviation.clamp(min=torch.finfo(torch.float32).tiny), 0.0)
    return torch.where(channels.to(images.device).reshape(1, -1, *(1 for _ in axes)), standardized, values)


def masked_squared_error(reconstruction: torch.Tensor, images: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Mean squared error over the counted voxels of all channels, in float32.

    Args:
        reconstruction: Shape (B, C, *S).
        images: Shape (B, C, *S).
        counted: Bool, shape (B, 1, *S); where no voxel counts, the error is 0.
    """
    error = (reconstruction.float() - images.float()).square() * counted
    return error.sum() / (counted.sum() * images.shape[1]).clamp(min=1)


def explained_variance(reconstruction: torch.Tensor, images: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """1 - squared error / variance over the counted voxels: 0 for painting the mean gray, 1 for the very image.

    Shapes as in :func:`masked_squared_error`.
    """
    mask = counted.expand_as(images)
    target = images.float()[mask]
    residual = (target - reconstruction.float()[mask]).square().sum()
    return 1 - residual / (target - target.mean()).square().sum().clamp(min=1e-8)
