"""Writing a plans file beside the one that it is derived from."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.data.dataset_folders import preprocessed_folder
from nnunet_pix2rep.nnunet.plans.compact import add_compact_configuration
from nnunet_pix2rep.nnunet.plans.plans_file import add_settings, plans_in, read_plans


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
        settings: ``["pretraining.num_epochs=200", ...]``. Only these are written, and what is of a compact
            configuration: what is not set stays a default.
        compact: Whether to add ``<configuration>_compact``, see :func:`add_compact_configuration`.
        overwrite: Whether existing plans of this name may be replaced.

    Returns:
        The new file.

    Raises:
        UserError: missing dataset, plans or configuration, a bad name or setting, or existing plans of this name.
    """
    check_plans_name(plans_name, source_plans_name)
    folder = preprocessed_folder(dataset_name_or_id)
    target = folder / f"{plans_name}.json"
    plans = read_plans(folder / f"{source_plans_name}.json")
    plans = add_settings(plans, configuration, settings, source=str(folder / f"{source_plans_name}.json"))
    plans["plans_name"] = plans_name
    if compact:
        plans = add_compact_configuration(plans, configuration)
    return save_plans(plans, target, overwrite)


def save_plans(plans: dict[str, Any], target: Path, overwrite: bool) -> Path:
    """Writes a plans file; raises UserError where one would be replaced unasked, or a file of another kind."""
    check_holds_plans(target, "-o")
    if target.exists() and not overwrite:
        raise UserError(f"{target} exists. Choose another name with -o, or replace it with --overwrite.")
    write_json(plans, target)
    return target


def check_plans_name(plans_name: str, source_plans_name: str) -> None:
    """Raises UserError where new plans would replace those they come from, or nnU-Net could not use their name."""
    if plans_name == source_plans_name:
        raise UserError(f"-o {plans_name} would replace the plans given by -p. Choose another name.")
    check_usable_name(plans_name, "-o")


def check_usable_name(plans_name: str, option: str) -> None:
    """Raises UserError, with the option that gave the name, where nnU-Net could not use it."""
    # nnU-Net splits the names of its result folders, Trainer__Plans__Configuration, at the double underscore.
    if not re.fullmatch(r"[A-Za-z0-9._-]+", plans_name) or "__" in plans_name or plans_name.endswith(".json"):
        raise UserError(
            f"{option} {plans_name!r} is no name for plans: use letters, digits, '.', '-' and single '_', "
            "without .json."
        )


def check_holds_plans(target: Path, option: str) -> None:
    """Raises UserError where plans of this name would lie in the place of another file, such as ``dataset.json``."""
    if target.is_file() and target.stem not in plans_in(target.parent):
        raise UserError(f"{target} is there and holds no plans. Choose another name with {option}.")
