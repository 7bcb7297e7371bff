"""A raw nnU-Net dataset from a folder of scans and no label at all."""

from __future__ import annotations

import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunetv2.dataset_conversion.generate_dataset_json import generate_dataset_json
from nnunetv2.paths import nnUNet_raw

from nnunet_pix2rep.annotation.start.scan_survey import choose_channels, choose_file_ending, reference_of, survey
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.data.dataset_folders import UNLABELED_FOLDER
from nnunet_pix2rep.nnunet.data.raw_dataset_writer import dataset_folder
from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases
from nnunet_pix2rep.nnunet.patients.patients import PATIENTS_FILE
from nnunet_pix2rep.nnunet.unlabeled.adding.add import AddReport, add_images
from nnunet_pix2rep.nnunet.unlabeled.adding.discover import find_images

BACKGROUND, IGNORE = "background", "ignore"
LABELED_FOLDERS = ("imagesTr", "labelsTr")
MAX_NAMES = 3


@dataclass(frozen=True)
class NewDataset:
    """What :func:`make_new_dataset` did.

    Attributes:
        folder: The raw dataset.
        labels: Name -> value, as in ``dataset.json``.
        channels: Names of the channels.
        dimension: 2 or 3.
        report: What became of each scan.
    """

    folder: Path
    labels: dict[str, int]
    channels: tuple[str, ...]
    dimension: int
    report: AddReport


def make_new_dataset(
    scans: Path,
    dataset_id: int,
    name: str,
    label_names: Sequence[str],
    *,
    channels: Sequence[str] | None = None,
    file_ending: str | None = None,
    patient_regex: str | None = None,
    patients_table: Path | None = None,
    dry_run: bool = False,
    keep: Sequence[str] = (),
) -> NewDataset:
    """Makes ``DatasetXXX_<name>`` in nnU-Net's raw folder, with all scans in ``imagesUn`` and no labeled case.

    ``dataset.json`` is written last: a folder without it is an interrupted run, which the same command completes.

    Args:
        scans: A folder of NIfTI, NRRD, MetaImage or natural images or DICOM series, searched with its subfolders.
        dataset_id: 1 to 999.
        name: The part of the dataset's name behind ``DatasetXXX_``.
        label_names: The structures to be annotated; they get the values 1, 2, ... in this order.
        channels: Names of the channels; None: see :func:`choose_channels`.
        file_ending: Ending of the dataset's files; None: see :func:`choose_file_ending`.
        patient_regex: Finds the patient in the name of a case.
        patients_table: A CSV file with the columns ``case``, ``patient``, ``group``.
        dry_run: Read and check everything, write nothing.
        keep: See :func:`nnunet_pix2rep.nnunet.unlabeled.adding.add.add_unlabeled`.

    Raises:
        UserError: a bad name or label, a dataset ID that is taken, or no scan that can be read.
    """
    labels = labels_with_ignore(label_names)
    folder = _free_folder(dataset_id, name)
    found = find_images(scans.expanduser())
    if not found.images:
        raise UserError(_nothing_added(found.problems))
    surveyed = survey(found.images)
    ending = choose_file_ending(surveyed, file_ending)
    names = choose_channels(surveyed, ending, channels)
    reference = reference_of(surveyed, len(names), ending)
    existed = folder.is_dir()
    report = add_images(
        folder,
        found,
        reference=reference,
        patient_regex=patient_regex,
        patients_table=patients_table,
        is_new=True,
        dry_run=dry_run,
        keep=keep,
    )
    if not report.added and not report.present:
        if not existed and folder.is_dir():
            shutil.rmtree(folder)  # patients.json and an empty imagesUn
        raise UserError(_nothing_added(report.problems | report.skipped))
    if not dry_run:
        _forget_patients_of_missing_cases(folder, ending)
        for subfolder in LABELED_FOLDERS:
            (folder / subfolder).mkdir(exist_ok=True)
        _write_dataset_json(folder, labels, names, ending)
    return NewDataset(folder, labels, channels=names, dimension=reference.dimension, report=report)


def labels_with_ignore(names: Sequence[str]) -> dict[str, int]:
    """nnU-Net's labels: background 0, the structures 1, 2, ... and, highest, the label of what is not annotated.

    Raises:
        UserError: no name, an empty one, one that comes twice, or one that nnU-Net has a meaning for.
    """
    names = [name.strip() for name in names]
    if not names or "" in names:
        raise UserError("Name every structure to be annotated with --labels, such as --labels LV myocardium RV.")
    reserved = [name for name in names if name.lower() in (BACKGROUND, IGNORE)]
    if reserved:
        raise UserError(
            f"--labels: {reserved[0]} is there anyway: nnU-Net's background (0), and ignore for what is not annotated. "
            "Name the structures alone."
        )
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"--labels names {', '.join(twice)} more than once. Every structure needs a name of its own.")
    return {name: value for value, name in enumerate([BACKGROUND, *names, IGNORE])}


def _free_folder(dataset_id: int, name: str) -> Path:
    """The folder of the new dataset, which may be that of an interrupted run."""
    if not nnUNet_raw.is_set():
        raise UserError(
            "The environment variable nnUNet_raw is not set. Set it to the folder of nnU-Net's raw datasets "
            "(nnU-Net's documentation/setting_up_paths.md)."
        )
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name) or "__" in name:
        raise UserError(f"-n {name!r} cannot be a dataset's name: use letters, digits, '-' and single '_'.")
    folder = dataset_folder(Path(nnUNet_raw.require()), dataset_id, name)
    if (folder / "dataset.json").is_file():
        raise UserError(
            f"{folder} exists already. Add scans to it with nnunet_pix2rep add_unlabeled -d {dataset_id} -i FOLDER, or "
            "choose another ID with -d. Where patients.json takes each scan for a patient of its own, nnunet_pix2rep "
            f"add_unlabeled -d {dataset_id} -i FOLDER --patient-regex REGEX, with FOLDER as before, corrects that."
        )
    labeled = [sub for sub in LABELED_FOLDERS if (folder / sub).is_dir() and any((folder / sub).iterdir())]
    if labeled:
        raise UserError(
            f"{folder} has files in {labeled[0]} but no dataset.json: it is no dataset that this command began. "
            "Choose another ID with -d, or move that folder away."
        )
    return folder


def _nothing_added(reasons: dict[str, str]) -> str:
    listed = "; ".join(f"{label}: {reason}" for label, reason in sorted(reasons.items())[:MAX_NAMES])
    return f"No scan can be taken, so there is no dataset ({len(reasons)} tried). {listed}"


def _forget_patients_of_missing_cases(folder: Path, file_ending: str) -> None:
    """Patients are noted before the scans are written, those of scans that could not be added too."""
    records = read_json(folder / PATIENTS_FILE)
    cases = list_raw_cases(folder / UNLABELED_FOLDER, file_ending)
    write_json({case: record for case, record in records.items() if case in cases}, folder / PATIENTS_FILE)


def _write_dataset_json(folder: Path, labels: dict[str, int], channels: Sequence[str], file_ending: str) -> None:
    """Writes ``dataset.json`` with nnU-Net's own function, atomically."""
    with tempfile.TemporaryDirectory() as temporary:
        generate_dataset_json(
            temporary,
            channel_names={str(index): channel for index, channel in enumerate(channels)},
            labels=dict(labels),
            num_training_cases=0,
            file_ending=file_ending,
            dataset_name=folder.name,
            license="not given",
            description="Scans without labels in imagesUn; what is not annotated has the label ignore.",
            converted_by="nnunet_pix2rep new_dataset",
        )
        write_json(read_json(Path(temporary) / "dataset.json"), folder / "dataset.json")
