"""From a pretraining to a fine-tuning: finding the weights, and loading them with a report."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nnunet_pix2rep.config.input_channels import ADAPT
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.installation import PRETRAINING_SUFFIX, pretraining_trainers
from nnunet_pix2rep.nnunet.checkpoints.architectures import architecture_of
from nnunet_pix2rep.nnunet.checkpoints.files import (
    FINAL,
    RECORD_KEY,
    SEGMENTATION_KEY_PART,
    WeightComparison,
    compare_weights,
)
from nnunet_pix2rep.nnunet.checkpoints.input_channels import (
    AdaptedTensor,
    adapt_input_channels,
    differ_in_input_channels_alone,
)

_ORIGIN = (
    "stage", "trainer", "loss", "dataset_name", "plans_name", "configuration", "fold", "cases", "package_versions",
    "started_from", "pretrained",
)  # fmt: skip


def find_pretraining(
    results_folder: Path,
    plans_name: str,
    configuration: str,
    fold: int | str,
    option: str = "-pretrained_weights",
) -> Path:
    """The result of the pretraining of the same plans, configuration and fold, by any trainer named ...Pretrain.

    Args:
        results_folder: The dataset's folder in ``nnUNet_results``.
        plans_name: Name of the plans.
        configuration: Name of the configuration.
        fold: Number of the fold or ``all``.
        option: The option that names a checkpoint, for error messages.

    Raises:
        UserError: there is none, or there are several.
    """
    found = finished_pretrainings(results_folder, plans_name, configuration, fold)
    if not found:
        folder = results_folder / f"*{_result_name(plans_name, configuration)}" / f"fold_{fold}"
        raise UserError(
            f"There is no finished pretraining of plans {plans_name}, configuration {configuration}, fold {fold}: "
            f"looked for {folder / FINAL}. Run nnUNetv2_train with -tr "
            f"{' or '.join(pretraining_trainers())} first, or name a checkpoint with {option}."
        )
    if len(found) > 1:
        raise UserError(
            f"There are several pretrainings to start from: {', '.join(map(str, found))}. Choose one with {option}."
        )
    return found[0]


def finished_pretrainings(results_folder: Path, plans_name: str, configuration: str, fold: int | str) -> list[Path]:
    """The checkpoints that :func:`find_pretraining` chooses from, sorted; the arguments are its own."""
    name = _result_name(plans_name, configuration)
    folders = sorted(folder for folder in results_folder.glob("*") if folder.name.endswith(name))
    candidates = [folder / f"fold_{fold}" / FINAL for folder in folders]
    return [file for file in candidates if file.is_file()]


def _result_name(plans_name: str, configuration: str) -> str:
    """What nnU-Net's name of the folder of a pretraining's results ends with."""
    return f"{PRETRAINING_SUFFIX}__{plans_name}__{configuration}"


@dataclass(frozen=True)
class Transfer:
    """What was loaded from a checkpoint.

    Attributes:
        loaded: Keys of the network.
        adapted: Those of them that were adapted to another number of input channels.
    """

    loaded: tuple[str, ...]
    adapted: dict[str, AdaptedTensor]

    def to_record(self) -> dict[str, Any]:
        """For the record of what starts from the weights: plain values."""
        return {
            "num_loaded_tensors": len(self.loaded),
            "adapted_tensors": {key: [list(one.found), list(one.wanted)] for key, one in self.adapted.items()},
        }


def transfer_weights(
    checkpoint: dict[str, Any],
    network: nn.Module,
    source: Path,
    log: Callable[[str], None],
    *,
    adapt_channels: bool = False,
    setting: str | None = None,
) -> Transfer:
    """Loads all weights but the segmentation layers' into a network and logs what was loaded, skipped and mismatched.

    Args:
        checkpoint: Has ``network_weights``.
        network: The planned network, without the wrappers of DDP and torch.compile.
        source: The checkpoint's file, for messages.
        log: Takes the lines of the report.
        adapt_channels: Whether the first convolution is adapted to the network's number of input channels.
        setting: Name of the setting that asks for it, for the error message.

    Raises:
        UserError: a key outside the segmentation layers is missing or has another shape; nothing is loaded then.
    """
    weights = {key: value for key, value in checkpoint["network_weights"].items() if SEGMENTATION_KEY_PART not in key}
    weights, adapted = adapt_input_channels(weights, network) if adapt_channels else (weights, {})
    comparison = compare_weights(weights, network)
    missing = [key for key in comparison.missing if SEGMENTATION_KEY_PART not in key]
    _report(comparison, missing, adapted=adapted, source=source, log=log)
    if comparison.mismatched or missing or not comparison.matching:
        advice = _advice(weights, comparison, missing=missing, network=network, setting=setting)
        raise UserError(
            f"{source} does not fit the network of these plans: {_first_difference(comparison, missing, network)} "
            f"({len(comparison.matching)} tensors match). {advice} "
            "Nothing was loaded."
        )
    with torch.no_grad():
        own = network.state_dict()
        for key in comparison.matching:
            own[key].copy_(weights[key])
    return Transfer(comparison.matching, adapted)


def _report(
    comparison: WeightComparison,
    missing: list[str],
    adapted: dict[str, AdaptedTensor],
    source: Path,
    log: Callable[[str], None],
) -> None:
    skipped = [key for key in (*comparison.missing, *comparison.unused) if key not in missing]
    log(
        f"Pretrained weights from {source}: {len(comparison.matching)} tensors match, {len(skipped)} skipped, "
        f"{len(comparison.mismatched)} of another shape, {len(missing)} missing."
    )
    for title, keys in (("skipped", skipped), ("missing", missing)):
        for key in keys:
            log(f"  {title}: {key}")
    for key, (found, wanted) in comparison.mismatched.items():
        log(f"  mismatched: {key} has shape {found} in the checkpoint, {wanted} in the network")
    for key, tensor in adapted.items():
        log(f"  adapted: {key} from shape {tensor.found} to {tensor.wanted}: {tensor.how}")


def _first_difference(comparison: WeightComparison, missing: list[str], network: nn.Module) -> str:
    """The first key, in the order of the network, that a checkpoint has in another shape or not at all."""
    own = network.state_dict()
    first = next((key for key in own if key in comparison.mismatched or key in missing), next(iter(own)))
    found = f"shape {comparison.mismatched[first][0]}" if first in comparison.mismatched else "no such tensor"
    return f"{first} has {found} there and shape {tuple(own[first].shape)} in this network"


def _advice(
    weights: Mapping[str, torch.Tensor],
    comparison: WeightComparison,
    missing: list[str],
    network: nn.Module,
    setting: str | None,
) -> str:
    """What to do about weights that do not fit."""
    found, wanted = architecture_of(weights), architecture_of(network.state_dict())
    if found and wanted and found != wanted:
        return (
            f"It is a {found}, and these plans ask for a {wanted}: their blocks compute different things, so that the "
            f"weights of one mean nothing in the other. Pretrain with these plans, or use plans with a {found} here."
        )
    if setting and not missing and differ_in_input_channels_alone(comparison, network):
        before, after = (shape[1] for shape in next(iter(comparison.mismatched.values())))
        return (
            f"Only the number of input channels differs, {before} there and {after} here. Pretrain on images with "
            f"{after}, or have the first convolution adapted: nnunet_pix2rep plan ... --set {setting}={ADAPT}."
        )
    return "Pretrain with the same plans and configuration."


def origin_of(checkpoint: dict[str, Any], source: Path) -> dict[str, Any]:
    """Where weights come from, for the record of what starts from them: file, training, the cases they have seen."""
    record = checkpoint.get(RECORD_KEY, {})
    return {"file": str(source)} | {key: record[key] for key in _ORIGIN if key in record}
