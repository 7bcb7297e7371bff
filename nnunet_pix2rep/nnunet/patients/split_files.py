"""``splits_final.json`` for nnU-Net and, beside it, ``pix2rep_splits.json``: patients, shots and seed of every fold."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path, read_json, write_json
from nnunet_pix2rep.nnunet.data.dataset_folders import preprocessed_folder, raw_folder, training_cases
from nnunet_pix2rep.nnunet.patients.few_shot_folds import FewShotFold, PatientFold
from nnunet_pix2rep.nnunet.patients.patients import (
    Patient,
    describe_source,
    find_patients_file,
    read_patients,
    read_records,
)

SPLITS_FILE = "splits_final.json"
RECORD_FILE = "pix2rep_splits.json"
FORMAT_VERSION = 1
REGEX_SOURCE = "regular expression "  # how patients.describe_source begins, in the record


@dataclass(frozen=True)
class WrittenSplits:
    """What :func:`write_splits` did.

    Attributes:
        written: The files that are new or have changed; empty where both were identical already.
        backups: Copies of the files that they replaced.
    """

    written: tuple[Path, ...]
    backups: tuple[Path, ...]


def read_dataset_patients(
    dataset_name_or_id: str | int, patient_regex: str | None = None
) -> tuple[dict[str, Patient], str]:
    """Returns the patient of every training case of a dataset, and where that is known from.

    ``patients.json`` is looked for beside ``dataset.json`` in the raw dataset, then in the preprocessed one.

    Raises:
        UserError: the dataset is missing, or its patients cannot be read (:func:`read_patients`).
    """
    folder = preprocessed_folder(dataset_name_or_id)
    patients_file = find_patients_file(raw_folder(folder.name), folder)
    patients = read_patients(training_cases(folder.name), patients_file, patient_regex)
    return patients, describe_source(patients, patients_file, patient_regex)


def write_splits(
    folder: Path,
    folds: Sequence[PatientFold],
    patients: Mapping[str, Patient],
    settings: Mapping[str, Any],
) -> WrittenSplits:
    """Writes both files into the dataset's preprocessed folder.

    An existing file that differs is kept as ``<name>.backup_<timestamp>.json``; an identical one is left alone.

    Args:
        folder: The dataset's folder in ``nnUNet_preprocessed``.
        folds: The folds in the order of their index.
        patients: The patient of every case.
        settings: How the folds were made, for the record: plain Python values.

    Raises:
        UserError: an existing file is not valid JSON.
    """
    record = {
        "format_version": FORMAT_VERSION,
        "settings": dict(settings),
        "folds": [asdict(fold) | {name: list(getattr(fold, name)) for name in _SEQUENCES} for fold in folds],
        "patients": {case: {"patient": p.name, "group": p.group} for case, p in sorted(patients.items())},
    }
    # The record goes first: should the second write fail, read_recorded_folds notices that the two do not fit.
    contents = {folder / RECORD_FILE: record, folder / SPLITS_FILE: [fold.to_split() for fold in folds]}
    changed = {path: new for path, new in contents.items() if not path.exists() or read_json(path) != new}
    timestamp = datetime.now().strftime("%Y%m%d_%H%M%S")
    backups = {path: _back_up(path, timestamp) for path in changed if path.exists()}
    written: list[Path] = []
    try:
        for path, content in changed.items():
            write_json(content, path)
            written.append(path)
    finally:
        for path in backups.keys() - set(written):  # it stands unchanged, since writing failed
            backups[path].unlink()
    return WrittenSplits(tuple(changed), tuple(backups.values()))


def read_splits(folder: Path) -> list[dict[str, list[str]]]:
    """Reads ``splits_final.json``, whoever wrote it.

    Raises:
        UserError: the file is missing, or no list of folds with ``train`` and ``val``.
    """
    splits = read_json(folder / SPLITS_FILE)
    folds = splits if isinstance(splits, list) else [None]
    sides = [fold.get(side) if isinstance(fold, dict) else None for fold in folds for side in ("train", "val")]
    if not all(isinstance(cases, list) for cases in sides):
        raise UserError(f'{folder / SPLITS_FILE} is no list of folds with "train" and "val".')
    return splits


def read_recorded_folds(folder: Path) -> list[PatientFold]:
    """Reads the folds that ``nnunet_pix2rep split`` wrote; few-shot folds come as :class:`FewShotFold`.

    Raises:
        UserError: there is no record, or ``splits_final.json`` is not the one that it describes.
    """
    record = _read_record(folder)
    folds = [_to_fold(entry) for entry in record["folds"]]
    if read_json(folder / SPLITS_FILE) != [fold.to_split() for fold in folds]:
        raise UserError(
            f"{folder / SPLITS_FILE} is not the split that {folder / RECORD_FILE} describes: it was changed later. "
            "Run nnunet_pix2rep split again, or restore its backup."
        )
    return folds


def known_patients(folder: Path, cases: Iterable[str]) -> dict[str, Patient]:
    """Returns the patient of every case, for checks of splits that may come from anywhere.

    A split by ``--patient-regex`` decides: its record for the cases that it names, the regular expression for others,
    which were annotated after it. Otherwise ``patients.json`` comes before the record, since it may have been written
    or corrected after the split, and images without labels go by it. Last come the names of the cases.

    Args:
        folder: The dataset's folder in ``nnUNet_preprocessed``.
        cases: nnU-Net's case identifiers.

    Raises:
        UserError: the record has another format, ``patients.json`` is malformed, or it lacks a case that the record
            does not name either.
    """
    cases = list(cases)
    record = _read_record(folder)["patients"] if (folder / RECORD_FILE).is_file() else {}
    recorded = {case: Patient(entry["patient"], entry["group"]) for case, entry in record.items()}
    by_name = {patient.name: patient for patient in recorded.values()}
    expression = split_expression(folder)
    known = {case: recorded[case] for case in cases if case in recorded}
    for case in cases:
        match = expression.match(case) if expression is not None and case not in known else None
        if match is not None and match[1]:
            known[case] = by_name.get(match[1], Patient(match[1]))
    file = find_patients_file(raw_folder(folder.name), folder)
    if file is not None and expression is None:
        known |= read_patients(read_records(file).keys() & known.keys(), file)
    others = [case for case in cases if case not in known]
    return known | read_patients(others, file)


def split_expression(folder: Path) -> re.Pattern[str] | None:
    """The ``--patient-regex`` that the folds in a dataset's preprocessed folder were made with, or None."""
    path = folder / RECORD_FILE
    source = read_json(path).get("settings", {}).get("patients_from", "") if path.is_file() else ""
    return re.compile(source.removeprefix(REGEX_SOURCE)) if source.startswith(REGEX_SOURCE) else None


_SEQUENCES = ("train_patients", "validation_patients", "train_cases", "validation_cases")


def _to_fold(entry: dict[str, Any]) -> PatientFold:
    content = entry | {name: tuple(entry[name]) for name in _SEQUENCES}
    return FewShotFold(**content) if "shots" in entry else PatientFold(**content)


def _read_record(folder: Path) -> dict[str, Any]:
    path = folder / RECORD_FILE
    if not path.is_file():
        raise UserError(f"{path} does not exist. Run nnunet_pix2rep split for {folder.name} first.")
    record = read_json(path)
    if not isinstance(record, dict) or record.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{path} has another format than this version of nnunet_pix2rep reads. Run nnunet_pix2rep split again."
        )
    return record


def _back_up(path: Path, timestamp: str) -> Path:
    backup = path.with_name(f"{path.stem}.backup_{timestamp}.json")
    number = 2
    while backup.exists():
        backup = path.with_name(f"{path.stem}.backup_{timestamp}_{number}.json")
        number += 1
    with atomic_path(backup) as temporary:
        shutil.copyfile(path, temporary)
    return backup
