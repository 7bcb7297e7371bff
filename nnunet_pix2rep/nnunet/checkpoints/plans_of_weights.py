"""Plans for a dataset whose network the weights of another dataset's training fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_pix2rep.config import BLOCK_NAME
from nnunet_pix2rep.config.flat_names import in_parts
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file
from nnunet_pix2rep.nnunet.data.dataset_folders import preprocessed_folder
from nnunet_pix2rep.nnunet.networks.planned_network import PlannedNetwork
from nnunet_pix2rep.nnunet.plans.adopt import adopt_plans
from nnunet_pix2rep.nnunet.plans.plans_file import add_settings, read_plans
from nnunet_pix2rep.nnunet.plans.write import check_plans_name, save_plans


@dataclass(frozen=True)
class PlansOfWeights:
    """What :func:`write_plans_of_weights` wrote.

    Attributes:
        file: The plans.
        dataset_name: The dataset that the weights were trained on.
        num_channels: Its number of input channels, and that of the dataset of the plans.
        has_own_normalization: Whether images are normalized as in the dataset's own plans.
    """

    file: Path
    dataset_name: str
    num_channels: tuple[int, int]
    has_own_normalization: bool


def write_plans_of_weights(
    dataset_name_or_id: str | int,
    configuration: str,
    weights: Path,
    source_plans_name: str = "nnUNetPlans",
    plans_name: str = "Pix2RepPlans",
    settings: Sequence[str] = (),
    *,
    overwrite: bool = False,
) -> PlansOfWeights:
    """Writes plans with the spacing, patch and network of a checkpoint's; see :func:`adopt_plans`.

    Args:
        dataset_name_or_id: nnU-Net's dataset, by name or number.
        configuration: The configuration of the checkpoint.
        weights: The checkpoint.
        source_plans_name: The dataset's own plans.
        plans_name: The new plans.
        settings: ``["finetuning.num_epochs=200", ...]``; those of the checkpoint's plans are kept unless set anew.
        overwrite: Whether existing plans of this name may be replaced.

    Raises:
        UserError: the dataset or its plans are missing, the checkpoint does not hold its plans or is of another
            configuration, a bad name or setting, or existing plans of this name.
    """
    check_plans_name(plans_name, source_plans_name)
    folder = preprocessed_folder(dataset_name_or_id)
    own = read_plans(folder / f"{source_plans_name}.json")
    planned = PlannedNetwork.of_checkpoint(load_checkpoint_file(weights), weights)
    if configuration != planned.configuration:
        raise UserError(
            f"The weights in {weights} are of the configuration {planned.configuration}, not of {configuration}. "
            f"Use -c {planned.configuration}."
        )
    plans, is_own = adopt_plans(own, _with_settings_of_now(planned), configuration, plans_name)
    plans = add_settings(plans, configuration, settings, source=str(weights))
    adopted = PlannedNetwork(plans, configuration, read_json(folder / "dataset.json"))
    file = save_plans(plans, folder / f"{plans_name}.json", overwrite)
    channels = (planned.num_input_channels, adopted.num_input_channels)
    return PlansOfWeights(file, planned.plans["dataset_name"], channels, is_own)


def _with_settings_of_now(planned: PlannedNetwork) -> dict[str, Any]:
    """The plans of a checkpoint with this package's settings under the names that they have now."""
    content = planned.settings
    if BLOCK_NAME in content:
        content = content | {BLOCK_NAME: in_parts(content[BLOCK_NAME])}
    return planned.plans | {"configurations": {planned.configuration: content}}
