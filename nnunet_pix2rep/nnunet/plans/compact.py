"""A compact configuration for small machines: a smaller network of the same kind, smaller images."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import Any

from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props

from nnunet_pix2rep.config import BLOCK_NAME
from nnunet_pix2rep.config.merge import merged
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.plans.plans_file import resolve_configuration

COMPACT_SUFFIX = "_compact"
COMPACT_MAX_SIZE = {2: 128, 3: 64}
COMPACT_BATCH_SIZE = {2: 8, 3: 2}
COMPACT_BASE_FEATURES = 16
COMPACT_MAX_FEATURES = 128
COMPACT_SETTINGS: dict[int, dict[str, Any]] = {2: {"finetuning": {"backbone_lr": 0.003}}, 3: {}}
"""Of Pix2Rep's block, by the dimensions of a patch: measured for these networks in 2D; in 3D one lost a class
(experiment 47)."""
# UNet_featuremap_min_edge_length of nnunetv2/experiment_planning/experiment_planners/default_experiment_planner.py
MIN_FEATURE_MAP_SIZE = 4


def add_compact_configuration(plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    """Returns a copy of the plans with ``<configuration>_compact``: a smaller network of the same kind, smaller images.

    Meant for CPUs, tests and teaching. The median image is at most 128 pixels wide (64 voxels in 3D), never finer than
    in the source configuration; a patch covers it whole. Topology follows from nnU-Net's ``get_pool_and_conv_props``;
    the features are 16, 32, 64, 128, 128, ...; the batch size is 8 (2 in 3D). It has a ``data_identifier`` of its own,
    so it must be preprocessed. In 2D it is fine-tuned at a faster rate, unless the source configuration names one.

    Raises:
        UserError: the configuration is missing, a cascade, or not a U-Net of nnU-Net's; or a compact one is in the
        plans already.
    """
    name = configuration + COMPACT_SUFFIX
    if name in plans["configurations"]:
        raise UserError(
            f"The plans {plans['plans_name']} have a configuration {name} already: use -c {name} without --compact."
        )
    plans = copy.deepcopy(plans)
    compact = resolve_configuration(plans, configuration)
    spacing, size = compact_spacing(compact["spacing"], compact["median_image_size_in_voxels"])
    dimension = len(spacing)
    _, strides, kernel_sizes, patch_size, _ = get_pool_and_conv_props(
        spacing, [math.ceil(round(width, 3)) for width in size], MIN_FEATURE_MAP_SIZE, 999999
    )
    compact |= {
        "data_identifier": f"{plans['plans_name']}_{name}",
        "batch_size": COMPACT_BATCH_SIZE[dimension],
        "patch_size": [int(width) for width in patch_size],
        "median_image_size_in_voxels": size,
        "spacing": spacing,
        "architecture": _compact_architecture(compact["architecture"], kernel_sizes, strides, configuration),
    }
    if COMPACT_SETTINGS[dimension]:
        compact[BLOCK_NAME] = merged(COMPACT_SETTINGS[dimension], compact.get(BLOCK_NAME) or {})
    for relation in ("inherits_from", "previous_stage", "next_stage"):
        compact.pop(relation, None)
    plans["configurations"][name] = compact
    return plans


def compact_spacing(spacing: Sequence[float], median_size: Sequence[float]) -> tuple[list[float], list[float]]:
    """The spacing at which the median image is at most 128 pixels wide, or 64 voxels in 3D.

    In-plane axes, which are the last two, share one lower bound, so that pixels stay square. In 3D slices do not become
    thinner than pixels. Thick slices keep their spacing as long as there are no more than 64 of them.

    Args:
        spacing: Spacing of the source configuration in mm, of length 2 or 3.
        median_size: Its median image size in voxels.

    Returns:
        Spacing in mm, none below the source's, and the median image size in voxels.
    """
    largest = COMPACT_MAX_SIZE[len(spacing)]
    finest = [axis_spacing * width / largest for axis_spacing, width in zip(spacing, median_size, strict=True)]
    in_plane = max(finest[-2:])
    floors = [max(axis_floor, in_plane) for axis_floor in finest]
    target = [float(max(axis_spacing, floor)) for axis_spacing, floor in zip(spacing, floors, strict=True)]
    size = [
        float(min(largest, width * old / new)) for width, old, new in zip(median_size, spacing, target, strict=True)
    ]
    return target, size


def _compact_architecture(
    architecture: dict[str, Any], kernel_sizes: Sequence, strides: Sequence, configuration: str
) -> dict[str, Any]:
    architecture = copy.deepcopy(architecture)
    arguments = architecture["arch_kwargs"]
    encoder_depth = next((key for key in ("n_conv_per_stage", "n_blocks_per_stage") if key in arguments), None)
    if encoder_depth is None or "n_conv_per_stage_decoder" not in arguments:
        raise UserError(
            f"A compact version is known for PlainConvUNet and ResidualEncoderUNet, but {configuration} has the "
            f"network {architecture['network_class_name']}."
        )
    num_stages = len(strides)
    arguments |= {
        "n_stages": num_stages,
        "features_per_stage": [
            min(COMPACT_BASE_FEATURES * 2**stage, COMPACT_MAX_FEATURES) for stage in range(num_stages)
        ],
        "kernel_sizes": [list(size) for size in kernel_sizes],
        "strides": [list(stride) for stride in strides],
        encoder_depth: _of_length(arguments[encoder_depth], num_stages),
        "n_conv_per_stage_decoder": _of_length(arguments["n_conv_per_stage_decoder"], num_stages - 1),
    }
    return architecture


def _of_length(per_stage: int | Sequence[int], length: int) -> int | list[int]:
    """Truncates the entries per stage, or repeats the last one where the source has fewer stages."""
    if isinstance(per_stage, int):
        return per_stage
    return [per_stage[min(stage, len(per_stage) - 1)] for stage in range(length)]
