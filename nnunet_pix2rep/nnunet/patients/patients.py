"""Which patient a case shows, so that no patient is ever split over training and validation."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json

PATIENTS_FILE = "patients.json"
# The ACDC challenge names the end-diastolic and the end-systolic frame of one heart patient001_frame01 and _frame12.
ACDC_CASE = re.compile(r"(patient\d+)_frame\d+")


@dataclass(frozen=True)
class Patient:
    """The patient whom a case shows.

    Attributes:
        name: Identifies the patient within the dataset.
        group: What few-shot subsets are balanced over (pathology, scanner, ...), or None where it is not known.
    """

    name: str
    group: str | None = None


def read_patients(
    cases: Iterable[str], patients_file: Path | None = None, patient_regex: str | None = None
) -> dict[str, Patient]:
    r"""Returns the patient of every case.

    The first of these that is given decides: the regular expression, ``patients.json``, the names of the cases. By
    name, ``patientNNN_frameNN`` (ACDC) belongs to ``patientNNN``; any other case is taken as a patient of its own.

    Args:
        cases: nnU-Net's case identifiers.
        patients_file: ``patients.json``, a dict of case -> ``{"patient": name, "group": name or null}``. It may hold
            more cases than asked for, such as test cases. None: there is no such file.
        patient_regex: A regular expression that matches from the start of a case's name and whose only group is the
            patient, such as ``(SC-[A-Z-]+\d+)_.*``.

    Raises:
        UserError: a malformed file or expression, a case without a patient, or a patient in two groups.
    """
    cases = sorted(cases)
    if patient_regex is not None:
        patients = _by_regex(cases, patient_regex)
    elif patients_file is not None:
        patients = _by_file(cases, Path(patients_file))
    else:
        patients = {case: Patient(m[1] if (m := ACDC_CASE.fullmatch(case)) else case) for case in cases}
    _check_one_group_each(patients, patients_file)
    return patients


def find_patients_file(*folders: Path | None) -> Path | None:
    """Returns the first ``patients.json`` in the given folders, of which None are skipped."""
    candidates = (folder / PATIENTS_FILE for folder in folders if folder is not None)
    return next((file for file in candidates if file.is_file()), None)


def read_records(patients_file: Path) -> dict[str, dict[str, Any]]:
    """All of a ``patients.json`` as it stands there.

    Raises:
        UserError: a malformed file, or a patient in two groups.
    """
    content = _read_object(patients_file)
    read_patients(content, patients_file)
    return content


def describe_source(patients: Mapping[str, Patient], patients_file: Path | None, patient_regex: str | None) -> str:
    """Says in one line where the patients of :func:`read_patients` came from."""
    if patient_regex is not None:
        return f"regular expression {patient_regex}"
    if patients_file is not None:
        return str(patients_file)
    if any(ACDC_CASE.fullmatch(case) for case in patients):
        return "case names: patientNNN_frameNN is a frame of patientNNN, any other case is a patient of its own"
    return "case names: every case is taken as a patient of its own"


def continues_name(case: str, patient: str) -> bool:
    """Whether a case is named like a patient with something behind it: ``anna_2`` of ``anna``, but not ``annabel``."""
    return case.startswith(patient) and len(case) > len(patient) and not case[len(patient)].isalnum()


def cases_by_patient(patients: Mapping[str, Patient]) -> dict[str, list[str]]:
    """Turns case -> patient into name of the patient -> cases, both sorted."""
    cases = defaultdict(list)
    for case in sorted(patients):
        cases[patients[case].name].append(case)
    return dict(sorted(cases.items()))


def patients_by_group(patients: Mapping[str, Patient]) -> dict[str, list[str]]:
    """Turns case -> patient into group -> names of its patients, both sorted.

    Patients without a group share the group ``""``.
    """
    groups = defaultdict(set)
    for patient in patients.values():
        groups[patient.group or ""].add(patient.name)
    return {group: sorted(groups[group]) for group in sorted(groups)}


def check_patient_leak(
    splits: Iterable[Mapping[str, Iterable[str]]], case_to_patient: Mapping[str, Patient]
) -> list[str]:
    """Finds patients who are in training and in validation of the same fold.

    Args:
        splits: The content of ``splits_final.json``: a dict with the keys ``train`` and ``val`` per fold.
        case_to_patient: The patient of every case, see :func:`read_patients`.

    Returns:
        A message per fold and patient; empty where patients are kept apart.

    Raises:
        UserError: a fold names a case whose patient is not known.
    """
    messages = []
    for fold, split in enumerate(splits):
        sides = {}
        for side in ("train", "val"):
            unknown = sorted(case for case in split[side] if case not in case_to_patient)
            if unknown:
                raise UserError(f"Fold {fold} names cases that the dataset does not have: {_shorten(unknown)}.")
            sides[side] = cases_by_patient({case: case_to_patient[case] for case in split[side]})
        for patient in sorted(sides["train"].keys() & sides["val"].keys()):
            messages.append(
                f"fold {fold}: patient {patient} is in training ({', '.join(sides['train'][patient])}) "
                f"and in validation ({', '.join(sides['val'][patient])})"
            )
    return messages


def _by_regex(cases: list[str], patient_regex: str) -> dict[str, Patient]:
    try:
        expression = re.compile(patient_regex)
    except re.error as error:
        raise UserError(f"--patient-regex '{patient_regex}' is not a valid regular expression: {error}.") from error
    if expression.groups != 1:
        raise UserError(
            f"--patient-regex '{patient_regex}' must have one group in parentheses, the patient, but has "
            f"{expression.groups}; parentheses that are no group are written (?:...)."
        )
    matches = {case: expression.match(case) for case in cases}
    names = {case: match[1] for case, match in matches.items() if match is not None and match[1]}
    unmatched = [case for case in matches if case not in names]
    if unmatched:
        raise UserError(
            f"--patient-regex '{patient_regex}' finds no patient in: {_shorten(unmatched)}. It must match "
            r"every case name from its start, such as (patient\d+)_.* for patient01_03."
        )
    return {case: Patient(name) for case, name in names.items()}


def _by_file(cases: list[str], path: Path) -> dict[str, Patient]:
    content = _read_object(path)
    missing = [case for case in cases if case not in content]
    if missing:
        raise UserError(f"{path} does not name the patient of: {_shorten(missing)}. Add them.")
    return {case: _read_record(content[case], case, path) for case in cases}


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise UserError(f'{path} must be an object of case -> {{"patient": ..., "group": ...}}.')
    return content


def _read_record(record: Any, case: str, path: Path) -> Patient:
    if not isinstance(record, dict) or "patient" not in record:
        raise UserError(f'{path}: {case} must be an object with the key "patient", but is {record!r}.')
    unknown = sorted(set(record) - {"patient", "group"})
    if unknown:
        raise UserError(f'{path}: {case} has unknown keys {_shorten(unknown)}. Known are "patient" and "group".')
    name, group = record["patient"], record.get("group")
    if not isinstance(name, str) or not name or not (group is None or isinstance(group, str)):
        raise UserError(f"{path}: patient and group of {case} must be text (a group may be null), but are {record!r}.")
    return Patient(name, group or None)


def _check_one_group_each(patients: Mapping[str, Patient], patients_file: Path | None) -> None:
    group_of: dict[str, str | None] = {}
    for case, patient in patients.items():
        if group_of.setdefault(patient.name, patient.group) != patient.group:
            raise UserError(
                f"{patients_file}: patient {patient.name} is in the groups {group_of[patient.name]} and "
                f"{patient.group} (case {case}). A patient has one group."
            )


def _shorten(names: list[str], limit: int = 5) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more
