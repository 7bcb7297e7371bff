"""Plans files with Pix2Rep's settings, and a compact configuration for small machines."""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunetv2.experiment_planning.experiment_planners.network_topology import get_pool_and_conv_props
from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_pix2rep.config import BLOCK_NAME, Pix2RepConfig, parse_settings
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.dataset_folders import preprocessed_folder

COMPACT_SUFFIX = "_compact"
COMPACT_MAX_SIZE = {2: 128, 3: 64}
COMPACT_BATCH_SIZE = {2: 8, 3: 2}
COMPACT_BASE_FEATURES = 16
COMPACT_MAX_FEATURES = 128
# UNet_featuremap_min_edge_length of nnunetv2/experiment_planning/experiment_planners/default_experiment_planner.py
MIN_FEATURE_MAP_SIZE = 4


def read_config(configuration: ConfigurationManager | dict[str, Any], source: str) -> Pix2RepConfig:
    """Reads Pix2Rep's settings of one configuration; without a block ``"pix2rep"`` they are the defaults.

    Args:
        configuration: nnU-Net's configuration, or its dict with inheritance resolved.
        source: The file that it comes from, for error messages.

    Raises:
        UserError: an unknown key or a value out of its range.
    """
    content = configuration if isinstance(configuration, dict) else configuration.configuration
    return Pix2RepConfig.from_block(content.get(BLOCK_NAME), source)


def write_plans(
    dataset_name_or_id: str | int,
    configuration: str,
    source_plans_name: str = "nnUNetPlans",
    plans_name: str = "Pix2RepPlans",
    settings: Sequence[str] = (),
    compact: bool = False,
    overwrite: bool = False,
) -> Path:
    """Writes a plans file with Pix2Rep's settings beside the plans that it is derived from.

    The configurations keep their ``data_identifier``, so they train on the data that is preprocessed already.

    Args:
        dataset_name_or_id: nnU-Net's dataset, by name or number.
        configuration: The configuration that receives the settings, such as ``2d``.
        source_plans_name: The existing plans.
        plans_name: The new plans.
        settings: ``["pretraining.num_epochs=200", ...]``. Only these are written: what is not set stays a default.
        compact: Whether to add ``<configuration>_compact``, see :func:`add_compact_configuration`.
        overwrite: Whether existing plans of this name may be replaced.

    Returns:
        The new file.

    Raises:
        UserError: missing dataset, plans or configuration, a bad name or setting, or existing plans of this name.
    """
    _check_plans_name(plans_name, source_plans_name)
    folder = preprocessed_folder(dataset_name_or_id)
    target = folder / f"{plans_name}.json"
    plans = read_plans(folder / f"{source_plans_name}.json")
    plans = add_settings(plans, configuration, settings, source=str(folder / f"{source_plans_name}.json"))
    plans["plans_name"] = plans_name
    if compact:
        plans = add_compact_configuration(plans, configuration)
    if target.exists() and not overwrite:
        raise UserError(f"{target} exists. Choose another name with -o, or replace it with --overwrite.")
    write_json(plans, target)
    return target


def add_settings(plans: dict[str, Any], configuration: str, settings: Sequence[str], source: str) -> dict[str, Any]:
    """Returns a copy of the plans with the settings in the block ``"pix2rep"`` of one configuration.

    Settings that the configuration has already, of its own or inherited, are kept unless they are set anew.

    Raises:
        UserError: the configuration is missing or a cascade, or a setting is unknown or out of its range.
    """
    plans = copy.deepcopy(plans)
    block = copy.deepcopy(resolve_configuration(plans, configuration).get(BLOCK_NAME) or {})
    Pix2RepConfig.from_block(block, source)
    given = parse_settings(settings)
    Pix2RepConfig.from_block(given, "--set")
    for part, values in given.items():
        block.setdefault(part, {}).update(values)
    # The values as they were understood, for instance 200 for 2e2.
    understood = Pix2RepConfig.from_block(block, source).to_block()
    plans["configurations"][configuration][BLOCK_NAME] = {
        part: {name: understood[part][name] for name in values} for part, values in block.items()
    }
    return plans


def resolve_configuration(plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    """Returns one configuration of the plans with its inheritance resolved by nnU-Net.

    Raises:
        UserError: the plans do not have it, or it is the second stage of a cascade.
    """
    if configuration not in plans["configurations"]:
        known = ", ".join(plans["configurations"])
        raise UserError(f"The plans {plans['plans_name']} have no configuration {configuration!r}. They have: {known}.")
    resolved = PlansManager(copy.deepcopy(plans)).get_configuration(configuration).configuration
    if resolved.get("previous_stage") is not None:
        raise UserError(
            f"The configuration {configuration} is the second stage of a cascade: its network also takes the "
            f"segmentation of {resolved['previous_stage']}, which pretraining does not have. Use another configuration."
        )
    return resolved


def add_compact_configuration(plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    """Returns a copy of the plans with ``<configuration>_compact``: a smaller network of the same kind, smaller images.

    Meant for CPUs, tests and teaching. The median image is at most 128 pixels wide (64 voxels in 3D), never finer than
    in the source configuration; a patch covers it whole. Topology follows from nnU-Net's ``get_pool_and_conv_props``;
    the features are 16, 32, 64, 128, 128, ...; the batch size is 8 (2 in 3D). It has a ``data_identifier`` of its own,
    so it must be preprocessed.

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


def read_plans(path: Path) -> dict[str, Any]:
    """Reads a plans file.

    Raises:
        UserError: the file does not exist, or is no plans file.
    """
    if not path.is_file():
        number = convert_dataset_name_to_id(path.parent.name)
        existing = ", ".join(sorted(file.stem for file in path.parent.glob("*Plans*.json"))) or "none"
        raise UserError(
            f"{path} does not exist (plans found there: {existing}). Name existing plans with -p, or make them with "
            f"nnUNetv2_plan_experiment -d {number}."
        )
    plans = read_json(path)
    if not isinstance(plans, dict) or "configurations" not in plans:
        raise UserError(f"{path} is not an nnU-Net plans file: it has no configurations.")
    return plans


def _check_plans_name(plans_name: str, source_plans_name: str) -> None:
    if plans_name == source_plans_name:
        raise UserError(f"-o {plans_name} would replace the plans given by -p. Choose another name.")
    # nnU-Net splits the names of its result folders, Trainer__Plans__Configuration, at the double underscore.
    if not re.fullmatch(r"[A-Za-z0-9._-]+", plans_name) or "__" in plans_name or plans_name.endswith(".json"):
        raise UserError(
            f"-o {plans_name!r} is no name for plans: use letters, digits, '.', '-' and single '_', without .json."
        )
