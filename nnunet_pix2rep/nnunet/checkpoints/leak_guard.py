"""The leak guard: no patient of a validation set may have been seen in pretraining."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY
from nnunet_pix2rep.nnunet.patients.patients import Patient
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import patients_with_pool

ALLOW_TRANSDUCTIVE_VARIABLE = "nnUNet_pix2rep_allow_transductive"


def seen_cases(record: dict[str, Any], dataset_name: str) -> set[str]:
    """The cases of a dataset that weights have seen, also in the trainings that theirs started from.

    Args:
        record: This package's part of a checkpoint, or what :func:`origin_of` made of it.
        dataset_name: nnU-Net's name of the dataset.
    """
    return _seen_by_dataset(record).get(dataset_name, set())


def _seen_by_dataset(record: dict[str, Any]) -> dict[str, set[str]]:
    """Name of each dataset that weights have seen images of -> the cases."""
    seen: dict[str, set[str]] = {}
    step: dict[str, Any] | None = record
    while step:
        if (name := step.get("dataset_name")) is not None:
            seen.setdefault(name, set()).update(step.get("cases", []))
        step = step.get("started_from") or step.get("pretrained")  # of a pretraining, of a fine-tuning
    return seen


def equal_names_elsewhere(
    record: dict[str, Any], dataset_name: str, validation_cases: Iterable[str]
) -> dict[str, list[str]]:
    """The validation cases whose names other datasets have too, of which weights have seen these very images.

    They may be of the same patients, where one dataset was made from another, or by chance: ``case_001``.

    Args:
        record: As for :func:`seen_cases`.
        dataset_name: The dataset that is trained on now.
        validation_cases: Its fold's validation cases.

    Returns:
        Name of another dataset -> validation cases, sorted.
    """
    validation = set(validation_cases)
    others = {name: validation & cases for name, cases in _seen_by_dataset(record).items() if name != dataset_name}
    return {name: sorted(cases) for name, cases in others.items() if cases}


def find_leaks(seen: Iterable[str], validation_cases: Iterable[str], patients: Mapping[str, Patient]) -> list[str]:
    """The validation cases, sorted, whose patients are among those of the cases that were seen."""
    seen_patients = {patients[case].name for case in seen}
    return sorted(case for case in validation_cases if patients[case].name in seen_patients)


def check_leak(
    checkpoint: dict[str, Any],
    source: Path,
    dataset_name: str,
    dataset_folder: Path,
    validation_cases: Sequence[str],
    again: str | None = None,
    continued: bool = False,
) -> list[str]:
    """The leak guard: no patient of the validation set may have been seen in pretraining.

    Checkpoints that this package did not write carry no list of cases and pass.

    Args:
        checkpoint: The pretrained checkpoint.
        source: Its file.
        dataset_name: The dataset that is trained on now.
        dataset_folder: Its folder in ``nnUNet_preprocessed``.
        validation_cases: The fold's validation cases.
        again: The command that made the weights, where they are of a pretraining that held out this fold's patients.
        continued: Whether it is a training that goes on or validates again, not one that starts from the weights.

    Returns:
        The validation cases whose patients were seen, which is only not an error where
        ``nnUNet_pix2rep_allow_transductive=1`` allows it.

    Raises:
        UserError: such cases exist and are not allowed.
    """
    record = checkpoint.get(RECORD_KEY, {})
    seen = seen_cases(record, dataset_name)
    if not seen:
        return []
    patients = patients_with_pool(dataset_folder, sorted(seen | set(validation_cases)))
    leaked = find_leaks(seen, validation_cases, patients)
    if leaked and os.environ.get(ALLOW_TRANSDUCTIVE_VARIABLE) != "1":
        advice, command = _advice(record, leaked, validation_cases, patients, again, continued)
        raise UserError(
            f"The weights in {source} have seen images of the patients of {len(leaked)} of this fold's "
            f"{len(validation_cases)} validation cases: {', '.join(leaked)}. The validation would not be one of unseen "
            f"patients. {advice}, or set {ALLOW_TRANSDUCTIVE_VARIABLE}=1 if that is what you want; it will be recorded "
            f"in the checkpoint.{command}"
        )
    return leaked


def _advice(
    record: dict[str, Any],
    leaked: Sequence[str],
    validation_cases: Sequence[str],
    patients: Mapping[str, Patient],
    again: str | None,
    continued: bool,
) -> tuple[str, str]:
    """What to do about a leak, and the command for it with what stands before it; arguments as above."""
    if continued:
        return "patients.json or splits_final.json changed since; restore it, or start this training again", ""
    # What a pretraining of this fold started from may have been allowed to see them; its own images have changed.
    if again is not None and find_leaks(record.get("cases", []), validation_cases, patients) == leaked:
        return "patients.json or the split changed since; pretrain again (replaces it)", f" To pretrain again: {again}"
    return "Pretrain in this fold", ""
