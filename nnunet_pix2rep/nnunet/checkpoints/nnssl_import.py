"""An nnssl checkpoint's encoder as the start of a Pix2Rep pretraining."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import check_target, read_json
from nnunet_pix2rep.nnunet.checkpoints.export import EXAMPLE, encoder_weights, transferable_weights
from nnunet_pix2rep.nnunet.checkpoints.files import (
    FORMAT_VERSION,
    RECORD_KEY,
    WeightComparison,
    compare_weights,
    load_checkpoint_file,
    package_versions,
    save_checkpoint_file,
)
from nnunet_pix2rep.nnunet.checkpoints.nnssl_plan import PLAN_KEY
from nnunet_pix2rep.nnunet.checkpoints.transfer import origin_of
from nnunet_pix2rep.nnunet.data.dataset_folders import preprocessed_folder
from nnunet_pix2rep.nnunet.networks.planned_network import PlannedNetwork
from nnunet_pix2rep.nnunet.plans.plans_file import read_config, read_plans

_WRAPPERS = re.compile(r"^(module\.|_orig_mod\.)+")  # of DistributedDataParallel and torch.compile


@dataclass(frozen=True)
class ImportReport:
    """What became of the weights, in the names of the planned network where they have one.

    Attributes:
        loaded: Encoder weights that were taken over.
        skipped: Weights of the checkpoint that have no place in the network's encoder.
        mismatched: Key -> (shape in the checkpoint, shape in the network); these stay random.
        missing: Encoder weights of the network that the checkpoint does not have; these stay random.
    """

    loaded: tuple[str, ...]
    skipped: tuple[str, ...]
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    missing: tuple[str, ...]


def import_encoder(
    source: Path,
    dataset_name_or_id: str | int,
    configuration: str,
    plans_name: str,
    target: Path,
    overwrite: bool = False,
) -> ImportReport:
    """Writes a file for ``-pretrained_weights``: the planned network with the checkpoint's encoder in it.

    What the checkpoint does not give, the decoder among it, has the initial weights of the plans' seed.

    Args:
        source: An nnssl checkpoint, which holds an ``nnssl_adaptation_plan``.
        dataset_name_or_id: nnU-Net's dataset, by name or number.
        configuration: Such as ``3d_fullres``.
        plans_name: The plans.
        target: The new file; with a symbolic link the one that it leads to.
        overwrite: Whether an existing file may be replaced.

    Raises:
        UserError: the checkpoint is damaged or none of nnssl's, no weight of it fits, dataset, plans or configuration
            are missing, or the target exists.
    """
    target = check_target(target, overwrite, EXAMPLE, source)
    checkpoint = load_checkpoint_file(source)
    keys = _read_keys(checkpoint, source)
    folder = preprocessed_folder(dataset_name_or_id)
    planned = PlannedNetwork(
        read_plans(folder / f"{plans_name}.json"), configuration, read_json(folder / "dataset.json")
    )
    config = read_config(planned.settings, str(folder / f"{plans_name}.json"))
    network = planned.build(seed=config.pretraining.seed)
    names = _names_in_network(checkpoint["network_weights"], keys, network)
    weights = {name: checkpoint["network_weights"][key] for key, name in names.items() if name is not None}
    report = _report(compare_weights(weights, network), names, network)
    if not report.loaded:
        raise UserError(f"Nothing of {source} fits the network of these plans. {_why_nothing(report, keys)}")
    own = network.state_dict()
    with torch.no_grad():
        for key in report.loaded:
            own[key].copy_(weights[key])
    record = _record(checkpoint, source, report) | {"config": config.to_block()}
    content = {"network_weights": transferable_weights(network), "trainer_name": None, RECORD_KEY: record}
    save_checkpoint_file(content, target)
    return report


def _read_keys(checkpoint: dict[str, Any], source: Path) -> tuple[str, str]:
    plan = checkpoint.get(PLAN_KEY)
    if not isinstance(plan, dict) or not {"key_to_encoder", "key_to_stem"} <= plan.keys():
        raise UserError(
            f'{source} has no "{PLAN_KEY}" that names its encoder and stem. nnssl writes it into the '
            "checkpoint_final.pth of its trainings. A checkpoint of nnU-Net or of this package needs no import: give "
            "it to -pretrained_weights."
        )
    return plan["key_to_encoder"], plan["key_to_stem"]


def _names_in_network(
    weights: Mapping[str, torch.Tensor], keys: tuple[str, str], network: Any
) -> dict[str, str | None]:
    """Key of the checkpoint -> the network's name for it; None: the weight is not of encoder or stem."""
    places = [(keys[1], network.key_to_stem), (keys[0], network.key_to_encoder)]
    names: dict[str, str | None] = {}
    for key in weights:
        plain = _WRAPPERS.sub("", key)
        names[key] = next((new + plain[len(old) :] for old, new in places if plain.startswith(f"{old}.")), None)
    return names


def _report(comparison: WeightComparison, names: dict[str, str | None], network: nn.Module) -> ImportReport:
    unused = set(comparison.unused)
    missing = set(comparison.missing)
    return ImportReport(
        comparison.matching,
        tuple(key for key, name in names.items() if name is None or name in unused),
        comparison.mismatched,
        tuple(key for key in encoder_weights(network) if key in missing),
    )


def _why_nothing(report: ImportReport, keys: tuple[str, str]) -> str:
    if not report.mismatched:
        return f"It has no weight below {keys[0]} or {keys[1]} whose name the network knows."
    key, (found, wanted) = next(iter(report.mismatched.items()))
    return (
        f"{len(report.mismatched)} weights have another shape: {key} has {found} there and {wanted} in the network. "
        "Use plans with the architecture of the checkpoint."
    )


def _record(checkpoint: dict[str, Any], source: Path, report: ImportReport) -> dict[str, Any]:
    pretraining = checkpoint[PLAN_KEY].get("pretrain_plan") or {}
    origin = origin_of(checkpoint, source) | {
        "trainer": checkpoint.get("trainer_name"),
        "dataset_name": pretraining.get("dataset_name"),
        "citations": checkpoint.get("citations", []),
    }
    return {
        "format_version": FORMAT_VERSION,
        "stage": "import",
        "package_versions": package_versions(),
        "num_loaded_tensors": len(report.loaded),
        "mismatched": {key: [list(shape) for shape in shapes] for key, shapes in report.mismatched.items()},
        "started_from": origin,
    }
