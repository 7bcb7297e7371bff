"""From one context patch to two views of it and the pixels that correspond.

Two random intensity transforms give two appearances of the context; view 1 is cut from the first (or, for multiscale
patches, magnified from a smaller square of it), and the second, deformed by a random spatial transform, gives view 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
from batchgeneratorsv2.transforms.intensity.inversion import InvertImageTransform
from batchgeneratorsv2.transforms.local.brightness_gradient import BrightnessGradientAdditiveTransform
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
from batchgeneratorsv2.transforms.utils.random import RandomTransform

from nnunet_pix2rep.config import ViewsConfig
from nnunet_pix2rep.geometry.grids import SpatialTransform, TransformRanges, draw_transform, identity_grid
from nnunet_pix2rep.geometry.warp import Placement, warp
from nnunet_pix2rep.sampling import draw_point_pairs

TRANSFORM_ATTEMPTS = 10


@dataclass(frozen=True)
class ViewPair:
    """Two views of one patch.

    Attributes:
        view_1: Shape (C, *S), float32.
        view_2: Shape (C, *S), float32.
        points_1: Shape (m, D), normalized coordinates of view 1.
        points_2: Shape (m, D); row i shows in view 2 what row i of ``points_1`` shows in view 1.
    """

    view_1: torch.Tensor
    view_2: torch.Tensor
    points_1: torch.Tensor
    points_2: torch.Tensor


class ViewMaker:
    """Makes view pairs; holds the settings, draws everything else for each pair.

    Random numbers come from the given generator and, inside batchgeneratorsv2, from the global ones of numpy and torch.

    Args:
        view_size: Array shape of the views.
        ranges: What the spatial transforms are drawn from.
        config: Settings of multiscale patches and intensity transforms.
        num_points: Pairs of points for each pair of views.
    """

    def __init__(self, view_size: Sequence[int], ranges: TransformRanges, config: ViewsConfig, num_points: int):
        self.view_size = tuple(int(length) for length in view_size)
        self.ranges = ranges
        self.config = config
        self.num_points = num_points
        self.intensity_transform = build_intensity_transform(config, ranges.in_plane_only)

    def __str__(self) -> str:
        return f"{self.num_points} pixel pairs per patch"

    def __call__(
        self,
        context: torch.Tensor,
        image_start: Sequence[int],
        image_stop: Sequence[int],
        generator: np.random.Generator,
    ) -> ViewPair:
        """Makes a pair of views.

        Args:
            context: Shape (C, *S_context), at least as large as the view along each axis.
            image_start: First voxel of the context, along each array axis, that is not padding.
            image_stop: One beyond the last such voxel.
            generator: Source of randomness.
        """
        context_size = context.shape[1:]
        placement, is_plain_crop = self._draw_placement(context_size, image_start, image_stop, generator)
        image_in_context = Placement.of_crop(image_start, np.subtract(image_stop, image_start), context_size)
        corners = torch.stack([-torch.ones(len(context_size)), torch.ones(len(context_size))])
        image_box = placement.from_context(image_in_context.to_context(corners))

        grid, points_1, points_2 = self._draw_transform_and_points(image_box, generator)
        appearance_1, appearance_2 = (self.intensity_transform(image=context.clone())["image"] for _ in range(2))
        if is_plain_crop:
            starts = [(whole - part) // 2 for whole, part in zip(context_size, self.view_size, strict=True)]
            view_1 = appearance_1[
                (slice(None), *[slice(s, s + part) for s, part in zip(starts, self.view_size, strict=True)])
            ]
        else:
            view_1 = warp(appearance_1, placement.to_context(identity_grid(self.view_size)))
        view_2 = warp(appearance_2, placement.to_context(grid))
        return ViewPair(view_1, view_2, points_1, points_2)

    def _draw_placement(
        self,
        context_size: Sequence[int],
        image_start: Sequence[int],
        image_stop: Sequence[int],
        generator: np.random.Generator,
    ) -> tuple[Placement, bool]:
        """Where view 1 lies in the context, and whether it is the plain crop from its center."""
        starts = np.array([(whole - part) // 2 for whole, part in zip(context_size, self.view_size, strict=True)])
        view_size = np.array(self.view_size)
        if generator.random() >= self.config.multiscale_probability:
            return Placement.of_crop(starts, view_size, context_size), True
        first_axis = 1 if self.ranges.in_plane_only else 0
        box = view_size.astype(float)
        box[first_axis:] = generator.uniform(*self.config.multiscale_range) * view_size[first_axis:].min()
        # Within the plain crop, its center on the image: elsewhere it might show nothing but padding.
        lowest, highest = (
            np.clip(np.array(edge) - box / 2, starts, starts + view_size - box) for edge in (image_start, image_stop)
        )
        return Placement.of_crop(generator.uniform(lowest, highest), box, context_size), False

    def _draw_transform_and_points(
        self, image_box: torch.Tensor, generator: np.random.Generator
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """The grid of phi and paired points; transforms without common points give way to others, at last to none."""
        for _ in range(TRANSFORM_ATTEMPTS):
            grid = draw_transform(self.ranges, self.view_size, generator).grid(self.view_size)
            points = draw_point_pairs(grid, image_box, self.num_points, generator)
            if points is not None:
                return grid, *points
        dimension = len(self.view_size)
        grid = SpatialTransform(torch.eye(dimension), torch.zeros(dimension)).grid(self.view_size)
        points = draw_point_pairs(grid, image_box, self.num_points, generator)
        if points is None:
            raise ValueError(
                f"view 1 shows nothing but padding: its image spans {image_box.tolist()}, the view -1 to 1"
            )
        return grid, *points


class _SpreadOfGradient:
    """Width of the brightness gradient along an axis: half to twice the image's. A class, so that it can be pickled."""

    def __call__(self, shape: Sequence[int], axis: int) -> float:
        return float(np.random.uniform(0.5, 2.0) * shape[axis])


class _BlurWidth:
    """Width of the Gaussian blur along one axis in voxels, drawn from a range, but no more than the axis can take.

    batchgeneratorsv2 mirrors the image at its edges, which fails where half of its kernel, 3 widths, exceeds the axis.
    """

    def __init__(self, limits: tuple[float, float]):
        self.limits = limits

    def __call__(self, shape: Sequence[int], dim: int) -> float:
        return max(0.01, min(float(np.random.uniform(*self.limits)), (shape[dim] - 1) / 3))


def build_intensity_transform(config: ViewsConfig, in_plane_only: bool = False) -> BasicTransform:
    """The random intensity transform of one view, from batchgeneratorsv2: v1's set and that of nnU-Net.

    Args:
        config: Probabilities and ranges.
        in_plane_only: Keep the resolution along the first axis (anisotropic 3D patches).
    """
    transforms = [
        (
            config.bias_field_probability,
            BrightnessGradientAdditiveTransform(
                scale=_SpreadOfGradient(),
                max_strength=config.bias_field_strength,
                same_for_all_channels=False,
                p_per_channel=1,
            ),
        ),
        (
            config.noise_probability,
            GaussianNoiseTransform(noise_variance=config.noise_variance, p_per_channel=1, synchronize_channels=True),
        ),
        (
            config.blur_probability,
            GaussianBlurTransform(
                blur_sigma=_BlurWidth(config.blur_sigma),
                synchronize_channels=False,
                synchronize_axes=False,
                p_per_channel=1,
                benchmark=False,  # it would choose between two implementations by their speed, and so make runs differ
            ),
        ),
        (
            config.brightness_probability,
            MultiplicativeBrightnessTransform(
                multiplier_range=BGContrast(config.brightness_range), synchronize_channels=False, p_per_channel=1
            ),
        ),
        (
            config.contrast_probability,
            ContrastTransform(
                contrast_range=BGContrast(config.contrast_range),
                preserve_range=True,
                synchronize_channels=False,
                p_per_channel=1,
            ),
        ),
        (
            config.low_resolution_probability,
            SimulateLowResolutionTransform(
                scale=config.low_resolution_range,
                synchronize_channels=False,
                synchronize_axes=True,
                ignore_axes=(0,) if in_plane_only else None,
                allowed_channels=None,
                p_per_channel=1,
            ),
        ),
        (config.inverted_gamma_probability, _gamma(config, p_invert_image=1)),
        (config.gamma_probability, _gamma(config, p_invert_image=0)),
        (
            config.inversion_probability,
            InvertImageTransform(p_invert_image=1, p_synchronize_channels=1, p_per_channel=1),
        ),
    ]
    return ComposeTransforms(
        [RandomTransform(transform, apply_probability=probability) for probability, transform in transforms]
    )


def _gamma(config: ViewsConfig, p_invert_image: float) -> GammaTransform:
    return GammaTransform(
        gamma=BGContrast(config.gamma_range),
        p_invert_image=p_invert_image,
        synchronize_channels=False,
        p_per_channel=1,
        p_retain_stats=1,
    )
