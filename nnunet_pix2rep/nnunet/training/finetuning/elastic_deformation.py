"""Elastic deformation in nnU-Net's own augmentation, which has it switched off.

A few annotated slices show few shapes of an organ; deformed smoothly they show more (docs/experiments/diary.md,
experiments 38 and 39). In 2D alone: in 3D, single annotated slices taught far less with it in as many steps (experiment
39).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from batchgeneratorsv2.transforms.base.basic_transform import BasicTransform
from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms

SMOOTHNESS = (0.06, 0.14)  # standard deviation of the Gaussian that smooths the displacements, part of the patch's edge
LARGEST_DISPLACEMENT = (1 / 64, 6 / 64)  # of any voxel of the patch, part of the edge


def switch_on_elastic_deformation(transforms: BasicTransform, probability: float) -> None:
    """Makes nnU-Net's spatial transform deform a part of the patches, image and labels alike.

    Args:
        transforms: What ``nnUNetTrainer.get_training_transforms`` of nnunetv2 2.8.1 returns; changed in place.
        probability: Part of the patches that are deformed, 0 to 1.

    Raises:
        RuntimeError: there is not exactly one spatial transform among them, so nnU-Net's augmentation has changed.
    """
    parts = transforms.transforms if isinstance(transforms, ComposeTransforms) else [transforms]
    spatial = [part for part in parts if isinstance(part, SpatialTransform)]
    if len(spatial) != 1:
        raise RuntimeError(
            f"nnU-Net's augmentation has {len(spatial)} spatial transforms, and one was expected. This package knows "
            "nnunetv2 2.8.1. Set finetuning.elastic_probability to 0 to train without elastic deformation."
        )
    spatial[0].p_elastic_deform = probability
    spatial[0].elastic_deform_scale = SMOOTHNESS
    spatial[0].elastic_deform_magnitude = draw_largest_displacement


def draw_largest_displacement(*, patch_size: Sequence[int], dim: int, **_others: object) -> float:
    """Largest displacement along axis ``dim`` of a patch, in voxels; batchgeneratorsv2 calls it once per axis."""
    return float(np.random.uniform(*LARGEST_DISPLACEMENT)) * patch_size[dim]
