"""The view pairs of a planned network: patch and augmentation by nnU-Net's rules, the rest from the configuration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nnunet_pix2rep.config import PretrainingConfig
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.geometry.grids import TransformRanges
from nnunet_pix2rep.views import ViewMaker


def build_view_maker(
    settings: PretrainingConfig,
    configuration: ConfigurationManager,
    augmentation: tuple[tuple[float, float], bool, Sequence[int], tuple[int, ...]],
) -> ViewMaker:
    """A view maker with the configured transforms, where nothing is configured with nnU-Net's.

    Args:
        settings: Pix2Rep's settings.
        configuration: nnU-Net's configuration, for the sizes of patch and batch.
        augmentation: What ``nnUNetTrainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size`` returns
            (nnunetv2 2.8.1): range of rotation in radians, in-plane only or not, initial patch size, axes to mirror.

    Raises:
        UserError: the configured axes to mirror are not those of a patch.
    """
    rotation, in_plane_only, _, mirror_axes = augmentation
    views = settings.views
    if views.mirror_axes is not None:
        check_mirror_axes(views.mirror_axes, len(configuration.patch_size))
    ranges = TransformRanges(
        rotation=rotation if views.rotation_degrees is None else tuple(np.deg2rad(views.rotation_degrees)),
        mirror_axes=mirror_axes if views.mirror_axes is None else views.mirror_axes,
        zoom=views.zoom,
        translation=views.translation,
        elastic_probability=views.elastic_probability,
        elastic_amplitudes=(views.elastic_coarse_amplitude, views.elastic_fine_amplitude),
        in_plane_only=in_plane_only,
    )
    num_points = points_per_patch(settings.sampling.num_points, configuration.batch_size)
    return ViewMaker(configuration.patch_size, ranges, views, num_points)


def check_mirror_axes(axes: Sequence[int], dimension: int) -> None:
    """Raises UserError where a patch of so many dimensions lacks an axis to mirror, or one is named twice."""
    if len(set(axes)) < len(axes) or any(axis >= dimension for axis in axes):
        raise UserError(
            f'"pix2rep.pretraining.views.mirror_axes" is {list(axes)}, but patches of this configuration have the axes '
            f"0 to {dimension - 1}, each to be named once. Change it in the plans, or leave it out for nnU-Net's rule."
        )


def points_per_patch(num_points: int, batch_size: int) -> int:
    """Each patch's share of the pixel pairs of a batch; two at least, however few those are."""
    return max(2, num_points // batch_size)
