"""Writing a raw nnU-Net dataset: what all conversions in ``dataset_conversion/`` share.

A conversion first plans all of its cases (and stops at bad input before a single file is written), then hands the plan
to :func:`write_raw_dataset`.
"""

from __future__ import annotations

import re
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json
from nnunetv2.paths import nnUNet_raw
from nnunetv2.utilities.dataset_name_id_conversion import find_candidate_datasets
from tqdm import tqdm

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.data.volume_writer import FILE_ENDING, VolumeSource, require_complete, write_volume

SUBSETS = ("Tr", "Ts", "Un")


@dataclass(frozen=True)
class Case:
    """One case of a raw dataset.

    Attributes:
        name: nnU-Net's case identifier.
        subset: ``Tr`` (training), ``Ts`` (test) or ``Un`` (unlabeled).
        patient: the patient whom the case shows; several cases may show the same one.
        group: what few-shot subsets are balanced over (pathology, vendor, ...), or None.
        image: where the single-channel image comes from.
        label: where the segmentation comes from; None always in ``Un``, never in ``Tr``.
    """

    name: str
    subset: str
    patient: str
    group: str | None
    image: VolumeSource
    label: VolumeSource | None = None

    def files(self) -> dict[str, VolumeSource]:
        """The case's files relative to the dataset folder, and where each comes from."""
        files = {f"images{self.subset}/{self.name}_0000{FILE_ENDING}": self.image}
        if self.label is not None:
            files[f"labels{self.subset}/{self.name}{FILE_ENDING}"] = self.label
        return files


@dataclass(frozen=True)
class DatasetDescription:
    """What ``dataset.json`` says about a dataset; ``name`` is the part behind ``DatasetXXX_``."""

    name: str
    channel_name: str
    labels: dict[str, int]
    reference: str
    license: str
    description: str


def write_raw_dataset(
    cases: Sequence[Case],
    description: DatasetDescription,
    dataset_id: int,
    raw_folder: Path,
    *,
    dry_run: bool = False,
    warnings: Sequence[str] = (),
) -> Path:
    """Writes the cases as ``raw_folder/DatasetXXX_<name>`` and returns that folder.

    Images, labels, then ``patients.json`` (case -> patient and group, for every case of every subset) and last of all
    ``dataset.json``: a folder without it is an interrupted conversion, which the same command completes. Files that are
    there already must be equal to what would be written, and stay; what else stands in the two JSON files is kept.

    Args:
        cases: all cases of the dataset, in any order.
        description: the contents of ``dataset.json``.
        dataset_id: 1 to 999.
        raw_folder: nnU-Net's raw folder.
        dry_run: print the files instead of writing them.
        warnings: what the user must know about the source data, printed at the end.

    Raises:
        UserError: no training cases; bad or duplicate case names; a damaged file; the dataset ID belongs to another
            dataset; the folder holds files that this conversion would not write, or would write differently; it cannot
            be written to.
    """
    cases = sorted(cases, key=lambda case: (SUBSETS.index(case.subset), case.name))
    check_cases(cases)
    folder = dataset_folder(raw_folder, dataset_id, description.name)
    planned = {path: source for case in cases for path, source in case.files().items()}
    for source in planned.values():
        if isinstance(source, Path):
            require_complete(source)
    patients = {case.name: {"patient": case.patient, "group": case.group} for case in cases}
    check_existing(folder, planned, patients, description)
    if dry_run:
        print("\n".join(str(folder / path) for path in [*planned, "patients.json", "dataset.json"]))
        report(f"Dry run, nothing written to {folder}", cases, warnings)
        return folder
    try:
        remove_interrupted(folder, planned)
        for path, source in tqdm(planned.items(), desc=folder.name, unit="file"):
            write_volume(source, folder / path)
        write_additions(patients, folder / "patients.json")
        num_training_cases = sum(case.subset == "Tr" for case in cases)
        write_additions(dataset_json(folder, description, num_training_cases), folder / "dataset.json")
    except OSError as error:
        raise UserError(
            f"Cannot write {folder}: {error}. Check permissions and free space, then run the same command again."
        ) from error
    report(f"Wrote {folder}", cases, warnings)
    return folder


def report(what: str, cases: Sequence[Case], warnings: Sequence[str]) -> None:
    """Prints the summary of a conversion, and below it all warnings, where they are seen."""
    counts = Counter(case.subset for case in cases)
    summary = ", ".join(f"{counts[subset]} in images{subset}" for subset in SUBSETS if counts[subset])
    print("\n".join([f"{what}: {summary}.", *(f"Warning: {warning}" for warning in warnings)]))


def dataset_folder(raw_folder: Path, dataset_id: int, name: str) -> Path:
    """The folder ``DatasetXXX_<name>``, after making sure that nnU-Net knows no other dataset by this ID.

    Raises:
        UserError: the ID is out of range or taken.
    """
    if not 1 <= dataset_id <= 999:
        raise UserError(f"The dataset ID must be between 1 and 999, but is {dataset_id}: give another one with -d.")
    folder = Path(raw_folder) / f"Dataset{dataset_id:03d}_{name}"
    known = {path.name for path in folder.parent.glob(f"Dataset{dataset_id:03d}*") if path.is_dir()}
    if nnUNet_raw.is_set() and Path(nnUNet_raw.require()).resolve() == folder.parent.resolve():
        known.update(str(candidate) for candidate in find_candidate_datasets(dataset_id))
    taken = sorted(known - {folder.name})
    if taken:
        raise UserError(f"Dataset ID {dataset_id} is taken by {', '.join(taken)}: choose another ID with -d.")
    return folder


def check_cases(cases: Sequence[Case]) -> None:
    """Raises a UserError at duplicate or unusable case names and at an empty training set."""
    duplicates = sorted(name for name, count in Counter(case.name for case in cases).items() if count > 1)
    if duplicates:
        raise UserError(f"Several source files make the same case: {', '.join(duplicates)}. Remove the copies.")
    for case in cases:
        if not re.fullmatch(r"[A-Za-z0-9_-]+", case.name):
            raise UserError(f"'{case.name}' cannot be a case name: use letters, digits, '_' and '-' only.")
        if (case.subset == "Tr" and case.label is None) or (case.subset == "Un" and case.label is not None):
            raise ValueError(f"Case {case.name}: training cases must have a label, unlabeled cases must not.")
    if not any(case.subset == "Tr" for case in cases):
        raise UserError("No labeled training case was found: check the input folder.")


def check_existing(
    folder: Path, planned: dict[str, VolumeSource], patients: dict[str, dict], description: DatasetDescription
) -> None:
    """Raises a UserError if the folder holds another dataset, so that none is ever mixed or overwritten."""
    subfolders = [folder / f"{kind}{subset}" for kind in ("images", "labels") for subset in SUBSETS]
    existing = {path.relative_to(folder).as_posix() for sub in subfolders for path in sub.glob("[!.]*")}
    foreign = sorted(existing - set(planned))
    if foreign:
        raise UserError(
            f"{folder} holds {len(foreign)} file(s) that this conversion would not write, for instance {foreign[0]}: "
            "convert into another raw folder with -o, choose another ID with -d, or move that folder away."
        )
    wanted = {"channel_names": {"0": description.channel_name}, "labels": description.labels}
    for name, expected in (("dataset.json", wanted), ("patients.json", patients)):
        present = read_json(folder / name) if (folder / name).is_file() else {}
        for key in sorted(expected.keys() & present.keys()):
            if present[key] != expected[key]:
                raise UserError(
                    f"{folder / name} has {key} = {present[key]}, this conversion would write {expected[key]}. Is it "
                    "another dataset, or was it changed? Move that folder away, or choose another ID with -d."
                )


def remove_interrupted(folder: Path, planned: dict[str, VolumeSource]) -> None:
    """Removes temporary files of a killed conversion, which nnU-Net would take for cases."""
    names = {Path(path).name.removesuffix(FILE_ENDING) for path in planned}
    for leftover in folder.glob(f"*/.*{FILE_ENDING}"):
        # The names that files.atomic_path makes: .<name>.<random characters>.nii.gz
        if leftover.name.removesuffix(FILE_ENDING)[1:].rpartition(".")[0] in names:
            leftover.unlink()


def write_additions(content: dict[str, Any], path: Path) -> None:
    """Writes a JSON file; keys of a file that is there and that the content lacks are a user's, and are kept."""
    present = read_json(path) if path.is_file() else {}
    merged = present | content
    if merged != present:
        write_json(merged, path)


def dataset_json(folder: Path, description: DatasetDescription, num_training_cases: int) -> dict[str, Any]:
    """What nnU-Net's own function writes to ``dataset.json``."""
    with tempfile.TemporaryDirectory() as temporary:
        generate_dataset_json(
            temporary,
            channel_names={"0": description.channel_name},
            labels=dict(description.labels),
            num_training_cases=num_training_cases,
            file_ending=FILE_ENDING,
            dataset_name=folder.name,
            reference=description.reference,
            license=description.license,
            description=description.description,
            converted_by="nnunet_pix2rep",
        )
        return read_json(Path(temporary) / "dataset.json")
