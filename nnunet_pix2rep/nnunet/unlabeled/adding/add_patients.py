"""``patients.json`` for images that are added to a dataset."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_csv_rows
from nnunet_pix2rep.nnunet.patients.patients import (
    continues_name,
    describe_source,
    find_patients_file,
    read_patients,
    read_records,
)
from nnunet_pix2rep.nnunet.unlabeled.adding.discover import FoundImage

Records = dict[str, dict[str, Any]]


def extend_patients(
    raw: Path,
    images: Sequence[FoundImage],
    present: Sequence[str],
    patient_regex: str | None,
    table: Path | None,
    *,
    is_new: bool = False,
) -> tuple[Records | None, str]:
    """The content of ``patients.json`` with the new images, and a line that says where their patients are known from.

    Without regex or table that is the PatientID of DICOM series, where the file can keep it, or the names of the cases.

    Args:
        raw: The raw dataset.
        images: The new images.
        present: The cases that the dataset has already. A new ``patients.json`` must name their patients too.
        patient_regex: As in :func:`nnunet_pix2rep.nnunet.patients.patients.read_patients`.
        table: A CSV file with the columns ``case``, ``patient`` and, if wanted, ``group``.
        is_new: Whether the dataset is being made, so that the file is wanted.

    Returns:
        None instead of a content where no file is needed: without regex or table, in a dataset that has no such file.

    Raises:
        UserError: the file is malformed, or a patient is not given, or another one than the file names already, or
            nothing is given and a new image is named like one of the file's patients.
    """
    file = find_patients_file(raw)
    records: Records = read_records(file) if file is not None else {}
    names = [image.name for image in images]
    if patient_regex is None and table is None:
        is_kept = is_new or file is not None
        given, source = _by_default(images, records, by_id=_by_patient_id(images) if is_kept else {})
        return (given | records if is_kept else None), f"{source}; --patient-regex or --patients says otherwise"
    wanted = [*names, *(case for case in present if case not in records)]
    if patient_regex is not None:
        patients = read_patients(set(wanted), patient_regex=patient_regex)
        given = {case: {"patient": patient.name, "group": None} for case, patient in patients.items()}
        source = f"regular expression {patient_regex}"
    else:
        assert table is not None
        given = _from_table(table, wanted, {image.label: image.name for image in images})
        source = str(table)
    count = len({given[name]["patient"] for name in names})
    return _merge(records, given, source), f"{source}: {count} patient(s) in {len(names)} scan(s)"


def _by_default(images: Sequence[FoundImage], records: Records, by_id: Mapping[str, str]) -> tuple[Records, str]:
    """The records of new images where nobody has said whom they show, and where they are known from."""
    patients = read_patients({image.name for image in images})
    groups = {record["patient"]: record.get("group") for record in records.values()}
    given = {case: {"patient": patient.name, "group": groups.get(patient.name)} for case, patient in patients.items()}
    given |= {case: {"patient": name, "group": None} for case, name in by_id.items()}
    _check_names(given, records)
    sources = [f"PatientID of {len(by_id)} DICOM series: {len(set(by_id.values()))} patient(s)"] if by_id else []
    by_name = {case: patient for case, patient in patients.items() if case not in by_id}
    if by_name:
        count = len({patient.name for patient in by_name.values()})
        sources.append(f"{describe_source(patients, None, None)}: {count} patient(s) in {len(by_name)} scan(s)")
    return given, "; ".join(sources)


def _check_names(given: Records, records: Records) -> None:
    """Refuses to take ``anna_3`` for a new patient where ``anna_1`` and ``anna_2`` are known to be of ``anna``."""
    several = {record["patient"] for case, record in records.items() if record["patient"] != case}
    unsure = [case for case, record in given.items() if case not in records and record["patient"] == case]
    alike = [(case, name) for case in sorted(unsure) for name in sorted(several) if continues_name(case, name)]
    if alike:
        case, name = alike[0]
        raise UserError(
            f"{len({case for case, _ in alike})} new scan(s) are named like a patient of patients.json with something "
            f"behind it: is {case} of {name}? Say whom they show with --patient-regex or --patients: else images of "
            "validation patients may be pretrained on."
        )


def _by_patient_id(images: Sequence[FoundImage]) -> dict[str, str]:
    """Case -> patient by the headers of DICOM series; empty where they do not tell patients apart.

    The patient is named like the first of its cases, since ``patients.json`` and checkpoints are passed on and must not
    hold a PatientID. Nothing is concluded where a series has no PatientID, or where all series in several folders share
    one: anonymization often leaves the same word everywhere.
    """
    series = [image for image in images if image.is_dicom]
    cases = defaultdict(list)
    for image in series:
        cases[image.patient_id].append(image.name)
    folders = {image.files[0].parent for image in series}
    if "" in cases or (len(cases) == 1 and len(folders) > 1):
        return {}
    return {name: min(names) for names in cases.values() for name in names}


def _from_table(table: Path, wanted: Sequence[str], name_of_label: Mapping[str, str]) -> Records:
    rows = read_csv_rows(table, ("case", "patient"), "Give a CSV file with the columns case and patient.")
    given = {
        name_of_label.get(row["case"], row["case"]): {"patient": row["patient"], "group": row.get("group") or None}
        for row in rows
    }
    unnamed = [case for case in wanted if not given.get(case, {}).get("patient")]
    if unnamed:
        raise UserError(
            f"{table} names no patient for: {', '.join(unnamed[:5])} ({len(unnamed)} in all). The column case holds "
            "case names, or paths below the folder given with -i. The labeled cases must be named too, unless "
            "patients.json does it."
        )
    return {case: given[case] for case in wanted}


def _merge(records: Records, given: Records, source: str) -> Records:
    """Adds what is given. A patient that only repeats the case name is a default, which is replaced."""
    groups = {record["patient"]: record.get("group") for record in records.values()}
    merged = dict(records)
    for case, record in given.items():
        group = record["group"] or groups.get(record["patient"])
        known = records.get(case)
        if known is not None and known["patient"] not in (case, record["patient"]):
            raise UserError(
                f"patients.json names {known['patient']} as the patient of {case}, but {source} says "
                f"{record['patient']}. Correct one of them."
            )
        if groups.setdefault(record["patient"], group) != group:
            raise UserError(
                f"Patient {record['patient']} has the group {groups[record['patient']]} in patients.json and {group} "
                f"in {source}. A patient has one group."
            )
        merged[case] = {"patient": record["patient"], "group": group}
    return merged
