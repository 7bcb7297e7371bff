"""Plans files with Pix2Rep's settings."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_pix2rep.config import BLOCK_NAME, Pix2RepConfig, parse_settings
from nnunet_pix2rep.config.merge import merged, picked
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.dataset_folders import is_without_labels


def read_config(configuration: ConfigurationManager | dict[str, Any], source: str) -> Pix2RepConfig:
    """Reads Pix2Rep's settings of one configuration; without a block ``"pix2rep"`` they are the defaults.

    Args:
        configuration: nnU-Net's configuration, or its dict with inheritance resolved.
        source: The file that it comes from, for error messages.

    Raises:
        UserError: an unknown key, a value out of its range, or a block under a name that is almost ``"pix2rep"``.
    """
    content = configuration if isinstance(configuration, dict) else configuration.configuration
    for name in content:
        if _is_like_the_block(name) and name != BLOCK_NAME:
            raise UserError(f'"{name}" in {source} is not read: the block is called "{BLOCK_NAME}". Rename it there.')
    return Pix2RepConfig.from_block(content.get(BLOCK_NAME), source)


def add_settings(plans: dict[str, Any], configuration: str, settings: Sequence[str], source: str) -> dict[str, Any]:
    """Returns a copy of the plans with the settings in the block ``"pix2rep"`` of one configuration.

    Settings that the configuration has already, of its own or inherited, are kept unless they are set again.

    Raises:
        UserError: the configuration is missing or a cascade, or a setting is unknown or out of its range.
    """
    plans = copy.deepcopy(plans)
    block = copy.deepcopy(resolve_configuration(plans, configuration).get(BLOCK_NAME) or {})
    Pix2RepConfig.from_block(block, source)
    given = parse_settings(settings)
    Pix2RepConfig.from_block(given, "--set")
    block = merged(block, given)
    # The values as they were understood, for instance 200 for 2e2.
    understood = Pix2RepConfig.from_block(block, source).to_block()
    plans["configurations"][configuration][BLOCK_NAME] = picked(understood, block)
    return plans


def resolve_configuration(plans: dict[str, Any], configuration: str) -> dict[str, Any]:
    """Returns one configuration of the plans with its inheritance resolved by nnU-Net.

    Raises:
        UserError: the plans do not have it, it is the second stage of a cascade, or Pix2Rep's block is beside the
            configurations.
    """
    check_place_of_block(plans)
    if configuration not in plans["configurations"]:
        known = ", ".join(plans["configurations"])
        raise UserError(f"The plans {plans['plans_name']} have no configuration {configuration!r}. They have: {known}.")
    resolved = PlansManager(copy.deepcopy(plans)).get_configuration(configuration).configuration
    if resolved.get("previous_stage") is not None:
        raise UserError(
            f"The configuration {configuration} is the second stage of a cascade: its network also needs the "
            f"segmentation of {resolved['previous_stage']}, which this package does not give it. Use 2d, 3d_lowres or "
            "3d_fullres."
        )
    return resolved


def check_place_of_block(plans: Mapping[str, Any]) -> None:
    """Raises UserError where Pix2Rep's settings are beside the configurations, where nothing reads them."""
    for name in plans:
        if _is_like_the_block(name):
            raise UserError(
                f'"{name}" in the plans {plans.get("plans_name")} is not read: it is beside the configurations. Move '
                f'it into the one that it is for, as "{BLOCK_NAME}".'
            )


def _is_like_the_block(name: str) -> bool:
    """Whether a key is that of Pix2Rep's settings, but for case, hyphens and underscores."""
    return name.lower().replace("-", "").replace("_", "") == BLOCK_NAME


def plans_in(folder: Path) -> list[str]:
    """Names of the plans files of a preprocessed dataset, sorted; records of unlabeled images are named like them."""
    return [file.stem for file in sorted(folder.glob("*.json")) if '"configurations"' in file.read_text()]


def read_plans(path: Path) -> dict[str, Any]:
    """Reads a plans file.

    Raises:
        UserError: the file does not exist, or is no plans file.
    """
    if not path.is_file():
        number = convert_dataset_name_to_id(path.parent.name)
        existing = ", ".join(plans_in(path.parent)) or "none"
        without_labels = is_without_labels(path.parent.name)
        command = "nnunet_pix2rep plan_unlabeled" if without_labels else "nnUNetv2_plan_experiment"
        raise UserError(
            f"{path} does not exist (plans found there: {existing}). Name existing plans with -p, or make them with "
            f"{command} -d {number}."
        )
    plans = read_json(path)
    if not isinstance(plans, dict) or "configurations" not in plans:
        raise UserError(f"{path} is not an nnU-Net plans file: it has no configurations.")
    return plans
