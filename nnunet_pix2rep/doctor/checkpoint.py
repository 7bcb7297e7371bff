"""Checks of a checkpoint against a dataset's plans and folds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.config.input_channels import ADAPT
from nnunet_pix2rep.doctor.findings import Finding, error, ok, shorten, warning
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import (
    RECORD_KEY,
    SEGMENTATION_KEY_PART,
    compare_weights,
    load_checkpoint_file,
    package_versions,
)
from nnunet_pix2rep.nnunet.checkpoints.input_channels import differ_in_input_channels_alone
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import find_leaks, seen_cases
from nnunet_pix2rep.nnunet.patients.split_files import SPLITS_FILE, read_splits
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import patients_with_pool

RETRAIN = "nnUNetv2_train {d} {c} {f} -p {p} -tr nnUNetTrainerPix2RepV2Pretrain"
ADAPT_CHANNELS = (
    f"nnunet_pix2rep plan -d {{d}} -c {{c}} -p {{p}} -o {{p}}_adapt --set finetuning.other_input_channels={ADAPT}"
)
PARTS_OF_ANY = {"d": "DATASET", "c": "CONFIGURATION", "p": "PLANS", "f": "FOLD"}


def check_checkpoint(
    file: Path,
    network: nn.Module | None,
    folder: Path | None,
    fold: int | str | None = None,
    config: Pix2RepConfig | None = None,
    command: Callable[[str], str] = lambda text: text.format(**PARTS_OF_ANY),
) -> list[Finding]:
    """Whether weights fit the planned network, and which folds may start from them.

    Args:
        file: The checkpoint.
        network: The planned network, on any device; None: not known.
        folder: The dataset's folder in ``nnUNet_preprocessed``; None: not known.
        fold: The fold that is to start from them; None: all folds are looked at.
        config: The settings of the plans; None: the defaults.
        command: Fills the dataset, configuration, plans and fold into a command, as ``DatasetCheck.command`` does.
    """
    retrain = command(RETRAIN)
    try:
        checkpoint = load_checkpoint_file(file)
    except UserError as problem:
        return [error("checkpoint", str(problem), retrain)]
    findings = [_describe(checkpoint, file), *_check_versions(checkpoint)]
    if network is not None:
        findings.append(_check_shapes(checkpoint, network, config or Pix2RepConfig(), command))
    if folder is not None:
        findings += _check_leaks(checkpoint, folder, fold, retrain)
    return findings


def _describe(checkpoint: dict[str, Any], file: Path) -> Finding:
    record = checkpoint.get(RECORD_KEY)
    if not record:
        return ok("checkpoint", f"{file} is not of this package: which images it has seen is not known")
    source = " ".join(str(record[key]) for key in ("trainer", "dataset_name", "plans_name", "fold") if record.get(key))
    return ok("checkpoint", f"{file}: {record.get('stage', 'training')} {source}".rstrip())


def _check_versions(checkpoint: dict[str, Any]) -> list[Finding]:
    installed = package_versions()
    recorded = checkpoint.get(RECORD_KEY, {}).get("package_versions", {})
    other = [
        f"{name} {there} there, {installed[name]} here"
        for name, there in recorded.items()
        if installed.get(name, there) != there
    ]
    if not other:
        return []
    remedy = "pip install " + " ".join(f"{name}=={recorded[name]}" for name in (text.split()[0] for text in other))
    return [warning("checkpoint", f"It was made with other versions: {', '.join(other)}.", remedy)]


def _check_shapes(
    checkpoint: dict[str, Any], network: nn.Module, config: Pix2RepConfig, command: Callable[[str], str]
) -> Finding:
    weights = {key: value for key, value in checkpoint["network_weights"].items() if SEGMENTATION_KEY_PART not in key}
    comparison = compare_weights(weights, network)
    missing = [key for key in comparison.missing if SEGMENTATION_KEY_PART not in key]
    if not missing and differ_in_input_channels_alone(comparison, network):
        return _check_channels(next(iter(comparison.mismatched.values())), config, command(ADAPT_CHANNELS))
    if comparison.mismatched:
        key, (found, wanted) = next(iter(comparison.mismatched.items()))
        message = f"{len(comparison.mismatched)} weights have another shape: {key} {found}, the plans want {wanted}."
    elif missing:
        message = f"{len(missing)} weights that the plans want are missing: {shorten(missing, 2)}."
    else:
        return ok("checkpoint", f"all {len(comparison.matching)} weights fit the planned network")
    return error("checkpoint", message, f"use the plans that it was trained with, or {command(RETRAIN)}")


def _check_channels(shapes: tuple[tuple[int, ...], tuple[int, ...]], config: Pix2RepConfig, remedy: str) -> Finding:
    """Weights that fit but for the number of input channels, whose convolution has these shapes there and here."""
    (_, before, *_), (_, after, *_) = shapes
    message = f"It is of a network with {before} input channel(s), the plans want {after}; all other weights fit."
    stages = [stage for stage in ("pretraining", "finetuning") if getattr(config, stage).other_input_channels == ADAPT]
    if stages:
        return ok("checkpoint", f"{message} {' and '.join(stages).capitalize()} will adapt the first convolution.")
    return error("checkpoint", message, remedy)


def _check_leaks(checkpoint: dict[str, Any], folder: Path, fold: int | str | None, retrain: str) -> list[Finding]:
    """Folds whose validation patients were seen."""
    seen = seen_cases(checkpoint.get(RECORD_KEY, {}), folder.name)
    if not seen or not (folder / SPLITS_FILE).is_file() or fold == "all":
        return []
    try:
        splits = read_splits(folder)
        patients = patients_with_pool(folder, sorted(seen | {case for split in splits for case in split["val"]}))
    except UserError as problem:
        return [error("checkpoint", f"Which folds may start from it is not known: {problem}", "correct that file")]
    leaked = {
        number: cases for number, split in enumerate(splits) if (cases := find_leaks(seen, split["val"], patients))
    }
    if fold in leaked:
        message = f"It has seen patients of the validation set of fold {fold}: {shorten(leaked[fold])}."
        return [error("checkpoint", message, retrain)]
    free = [number for number in range(len(splits)) if number not in leaked]
    if fold is not None or not leaked:
        return [ok("checkpoint", f"it has seen no validation patient of {_folds(free)}")]
    report = warning if free else error
    fit = f"{_folds(free) if free else 'no fold'} may start from it."
    message = f"It has seen validation patients of {_folds(list(leaked))}; {fit}"
    return [report("checkpoint", message, "pretrain in the fold that you fine-tune in")]


def _folds(numbers: Sequence[int]) -> str:
    return f"fold{'s' if len(numbers) > 1 else ''} {shorten([str(number) for number in numbers], 20)}"
