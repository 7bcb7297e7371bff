"""Checks of the splits file: its folds, the patients in them, and the results that are there."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path

from nnunetv2.paths import nnUNet_results

from nnunet_pix2rep.doctor.findings import Finding, error, ok, problem_of, shorten, warning
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.loading.fold_cases import check_fold
from nnunet_pix2rep.nnunet.patients.patients import cases_by_patient, check_patient_leak
from nnunet_pix2rep.nnunet.patients.split_files import (
    SPLITS_FILE,
    known_patients,
    read_dataset_patients,
    read_splits,
    split_expression,
)

NUM_FOLDS = 5  # of split --cross-validation, as of nnU-Net's own split
SINGLE_PATIENT = "train in fold all, or annotate scans of another patient: folds need two"


def remedy_of_splits(folder: Path, command: str) -> str:
    """The command that makes folds which this dataset has the patients for; other advice for a single one.

    Args:
        folder: The dataset's preprocessed folder.
        command: ``nnunet_pix2rep split`` for this dataset.
    """
    options, expression = " --cross-validation", None
    try:
        expression = split_expression(folder)
        patients, _ = read_dataset_patients(folder.name, None if expression is None else expression.pattern)
        num_patients = len(cases_by_patient(patients))
    except UserError:
        num_patients = NUM_FOLDS  # split says what is wrong
    if num_patients < 2:
        return SINGLE_PATIENT
    if num_patients < NUM_FOLDS:
        options += f" {num_patients}"
    if expression is not None:  # without it patients would be told apart in another way than before
        options += f" --patient-regex {shlex.quote(expression.pattern)}"
    return command + options


def check_folds(folder: Path, fold: int | str | None, cases: list[str], plans_name: str, remedy: str) -> list[Finding]:
    """Folds against the preprocessed cases, the patients and the results that are there.

    Args:
        folder: The dataset's preprocessed folder.
        fold: A fold to look at closely; None: all folds of the splits file.
        cases: The cases that are preprocessed.
        plans_name: The plans whose results are looked at.
        remedy: The command that splits again.
    """
    file = folder / SPLITS_FILE
    if not file.is_file():
        return _check_without_splits(folder, fold, cases, remedy)
    try:
        splits = read_splits(folder)
        for number in range(len(splits)) if fold in (None, "all") else [fold]:
            check_fold(number, folder, cases)
        names = sorted({case for split in splits for side in ("train", "val") for case in split[side]})
        leaks = check_patient_leak(splits, known_patients(folder, names))
    except UserError as problem:
        return [error("splits", str(problem), remedy)]
    findings = [error("splits", leak, remedy) for leak in leaks[:3]]
    if len(leaks) > 3:
        findings.append(error("splits", f"{len(leaks) - 3} more patients are on both sides of a fold.", remedy))
    findings += _check_results(folder, plans_name, len(splits))
    return findings or [ok("splits", f"{len(splits)} folds in {SPLITS_FILE}, patients kept apart")]


def _check_without_splits(folder: Path, fold: int | str | None, cases: list[str], remedy: str) -> list[Finding]:
    if problem := problem_of(partial(check_fold, 0 if fold is None else fold, folder, cases)):
        return [error("splits", problem, remedy)]
    if fold == "all":
        return [ok("splits", f"no {SPLITS_FILE}, and fold all needs none")]
    several = [group for group in cases_by_patient(known_patients(folder, cases)).values() if len(group) > 1]
    if several:
        message = f"There is no {SPLITS_FILE}: nnU-Net will split cases, and {len(several)} patients have several."
        return [warning("splits", message, remedy)]
    return [ok("splits", f"no {SPLITS_FILE} yet: nnU-Net will make five folds")]


def _check_results(folder: Path, plans_name: str, num_folds: int) -> list[Finding]:
    """Results of folds that the splits file does not have: nnU-Net made up a random split for them."""
    if not nnUNet_results.is_set():
        return []
    folders = Path(os.fspath(nnUNet_results)).glob(f"{folder.name}/*__{plans_name}__*/fold_*")
    numbers = {result: result.name.removeprefix("fold_") for result in sorted(folders)}
    beyond = [str(result) for result, number in numbers.items() if number.isdigit() and int(number) >= num_folds]
    if not beyond:
        return []
    message = (
        f"{SPLITS_FILE} has the folds 0 to {num_folds - 1}, but there are results of others, for which nnU-Net "
        f"made up a random split: {shorten(beyond)}."
    )
    remedy = "train these folds again, or restore the splits file that they were made with"
    return [warning("splits", message, remedy)]
