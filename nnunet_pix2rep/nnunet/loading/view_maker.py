"""The view pairs of a planned network: patch and augmentation by nnU-Net's rules, the rest from the configuration."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager

from nnunet_pix2rep.config import PretrainingConfig
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
    """
    rotation, in_plane_only, _, mirror_axes = augmentation
    views = settings.views
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


def points_per_patch(num_points: int, batch_size: int) -> int:
    """Each patch's share of the pixel pairs of a batch; two at least, however few those are."""
    return max(2, num_points // batch_size)
