"""Adding images without labels to ``imagesUn`` of a raw dataset, in the dataset's file format."""

from __future__ import annotations

import filecmp
import shutil
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.data.dataset_cases import LABELED_FOLDER, TEST_FOLDER, images_by_folder
from nnunet_pix2rep.nnunet.data.dataset_folders import (
    UNLABELED_FOLDER,
    dataset_name_of,
    is_without_labels,
    raw_folder,
)
from nnunet_pix2rep.nnunet.data.dataset_reader import DatasetReader
from nnunet_pix2rep.nnunet.data.volume_writer import same_volume
from nnunet_pix2rep.nnunet.patients.patients import PATIENTS_FILE
from nnunet_pix2rep.nnunet.unlabeled.adding.add_patients import extend_patients
from nnunet_pix2rep.nnunet.unlabeled.adding.checks import Reference, compare_channels, compare_geometry, read_reference
from nnunet_pix2rep.nnunet.unlabeled.adding.discover import FoundImage, FoundImages, find_images
from nnunet_pix2rep.nnunet.unlabeled.adding.known_images import KnownImages
from nnunet_pix2rep.nnunet.unlabeled.adding.label_maps import is_kept, remark_on_values, why_no_scan
from nnunet_pix2rep.nnunet.unlabeled.adding.staging import StagedImage, neighbors_on_grid, stage_image
from nnunet_pix2rep.nnunet.worker_processes import only_process

SCRATCH_PREFIX = ".adding_"


@dataclass
class AddReport:
    """What :func:`add_unlabeled` did; all keys are paths below the input folder.

    Attributes:
        folder: ``imagesUn``.
        added: Path -> case name, of images that are new.
        present: Path -> case name, of images that were there already.
        skipped: Path -> why the image is not wanted.
        problems: Path -> why the image could not be added.
        warnings: Path -> what is unusual about an image that was added.
        ignored: Files that are no images.
        patients: Where the patients of the new cases are known from.
    """

    folder: Path
    added: dict[str, str] = field(default_factory=dict)
    present: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    warnings: dict[str, list[str]] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)
    patients: str = ""


@dataclass(frozen=True)
class _Dataset:
    """What new images are compared with, and which are taken whatever they look like."""

    reference: Reference
    reader: DatasetReader
    known: KnownImages
    keep: Sequence[str]


def add_unlabeled(
    dataset_name_or_id: str | int,
    folder: Path,
    patient_regex: str | None = None,
    patients_table: Path | None = None,
    dry_run: bool = False,
    keep: Sequence[str] = (),
) -> AddReport:
    """Adds all images of a folder, and of the folders below it, to a dataset's unlabeled images.

    Nothing is overwritten, and what is there already stays as it is: the same command completes an interrupted run.

    Args:
        dataset_name_or_id: nnU-Net's dataset, by name or number, which must have its labeled images, or unlabeled
            ones that new ones are compared with.
        folder: NIfTI, NRRD, MetaImage or natural images, or DICOM series.
        patient_regex: Finds the patient in the name of a new case.
        patients_table: A CSV file with the columns ``case``, ``patient``, ``group``.
        dry_run: Read and check everything, write nothing.
        keep: Paths below the folder, or case names, with ``*`` and ``?``, of images that are taken although they are
            blank or look like label maps.

    Raises:
        UserError: no dataset, no image, patients that are not given or contradict ``patients.json``, or an output
            folder that cannot be written to, or that another process adds to. What is wrong with a single image stands
            in the report.
    """
    name = dataset_name_of(dataset_name_or_id)
    raw = raw_folder(name)
    if raw is None:
        raise UserError(f"The raw dataset {name} with its dataset.json is not in the folder that nnUNet_raw names.")
    dataset_json = read_json(raw / "dataset.json")
    ending = dataset_json["file_ending"]
    num_channels = len(dataset_json.get("channel_names", dataset_json.get("modality")))
    cases, reader = _images_and_reader(raw, ending)
    if is_without_labels(name):
        reference = read_reference(cases[UNLABELED_FOLDER], reader, num_channels, ending)
        reference = replace(reference, images="the images there")
    else:
        reference = read_reference(cases[LABELED_FOLDER], reader, num_channels, ending)
    found = find_images(folder.expanduser())
    return add_images(raw, found, reference, patient_regex, patients_table=patients_table, dry_run=dry_run, keep=keep)


def add_images(
    raw: Path,
    found: FoundImages,
    reference: Reference,
    patient_regex: str | None = None,
    patients_table: Path | None = None,
    *,
    is_new: bool = False,
    dry_run: bool = False,
    keep: Sequence[str] = (),
) -> AddReport:
    """Adds images that were found to ``imagesUn`` of a raw dataset; see :func:`add_unlabeled`.

    Args:
        raw: The raw dataset.
        found: The images.
        reference: What the dataset's images are like.
        patient_regex: Finds the patient in the name of a new case.
        patients_table: A CSV file with the columns ``case``, ``patient``, ``group``.
        is_new: Whether the dataset is being made: it gets a ``patients.json`` in any case.
        dry_run: Read and check everything, write nothing.
        keep: As in :func:`add_unlabeled`.

    Raises:
        UserError: as in :func:`add_unlabeled`.
    """
    cases, reader = _images_and_reader(raw, reference.file_ending)
    report = AddReport(raw / UNLABELED_FOLDER, problems=dict(found.problems), ignored=found.ignored)
    images = [image for image in found.images if not _is_named_like_a_case(image, cases, report)]
    present = [case for known in cases.values() for case in known]
    records, report.patients = extend_patients(
        raw, images, present=present, patient_regex=patient_regex, table=patients_table, is_new=is_new
    )
    try:
        with nullcontext() if dry_run else only_process(report.folder):
            # before the images, so that no interrupted run leaves images whose patient is not known
            if records is not None and not dry_run:
                write_json(records, raw / PATIENTS_FILE)
            _add_all(images, _Dataset(reference, reader, KnownImages(cases, reader), keep), report, dry_run)
    except OSError as error:
        raise UserError(
            f"Cannot write to {raw}: {error}. Check permissions and free space, then run the same command again."
        ) from error
    return report


def _images_and_reader(raw: Path, file_ending: str) -> tuple[dict[str, dict[str, list[Path]]], DatasetReader]:
    """Folder -> case -> files of a raw dataset that may still lack its ``dataset.json``, and its reader."""
    file = raw / "dataset.json"
    content = read_json(file) if file.is_file() else {"file_ending": file_ending}
    cases = images_by_folder(raw, content, UNLABELED_FOLDER)
    files = (files[0] for folder in (LABELED_FOLDER, UNLABELED_FOLDER) for files in cases[folder].values() if files)
    return cases, DatasetReader(content, next(files, None))


def _is_named_like_a_case(image: FoundImage, cases: Mapping[str, Collection[str]], report: AddReport) -> bool:
    for folder in (LABELED_FOLDER, TEST_FOLDER):
        if image.name in cases[folder]:
            where = "among the labeled cases" if folder == LABELED_FOLDER else f"in {folder}"
            report.skipped[image.label] = f"a case named {image.name} is {where}"
            return True
    return False


def _add_all(images: Sequence[FoundImage], dataset: _Dataset, report: AddReport, dry_run: bool) -> None:
    for leftover in report.folder.glob(f"{SCRATCH_PREFIX}*"):
        if not dry_run:
            shutil.rmtree(leftover)
    siblings = defaultdict(list)
    for image in images:
        siblings[image.files[0].parent].append(image)
    for image in tqdm(images, desc="Checking images" if dry_run else "Adding images", unit="image"):
        # in the folder itself, which may be a link to another disk: files are moved into place within a file system
        with TemporaryDirectory(dir=None if dry_run else report.folder, prefix=SCRATCH_PREFIX) as scratch:
            try:
                beside = siblings[image.files[0].parent]
                _add(image, beside, dataset=dataset, report=report, scratch=Path(scratch), dry_run=dry_run)
            except UserError as error:
                report.problems[image.label] = str(error)


def _add(
    image: FoundImage,
    siblings: Sequence[FoundImage],
    dataset: _Dataset,
    report: AddReport,
    scratch: Path,
    dry_run: bool,
) -> None:
    """Checks one image and moves it into place. ``siblings`` are the images of its folder."""
    staged = stage_image(image, dataset.reference, dataset.reader, scratch)
    name = f"{report.folder.name}/{image.name}"
    copy = dataset.known.find(staged.values)
    if copy is not None and copy != name:
        report.skipped[image.label] = f"it has the same voxels as {copy}"
        return
    if not is_kept(dataset.keep, image.label, image.name):
        reason = why_no_scan(staged.values, image.label, neighbors_on_grid(image, siblings))
        if reason is not None:
            report.skipped[image.label] = reason
            return
    remarks = [*compare_geometry(staged.grid, dataset.reference), *compare_channels(staged.files)]
    _move(image, staged, report, dry_run)
    dataset.known.add(name, staged.values)
    if (remark := remark_on_values(staged.values)) is not None:
        remarks.append(remark)
    if remarks:
        report.warnings[image.label] = remarks


def _move(image: FoundImage, staged: StagedImage, report: AddReport, dry_run: bool) -> None:
    """Compares the files of a case with what is there, and moves those that are missing into place."""
    targets = {file: report.folder / file.name for file in (*staged.sidecars, *staged.files)}
    differing = [t.name for file, t in targets.items() if t.exists() and not _same_file(file, t)]
    if differing:
        raise UserError(f"{differing[0]} is in {report.folder.name} already and is another image: rename one of them")
    missing = {file: target for file, target in targets.items() if not target.exists()}
    (report.added if missing else report.present)[image.label] = image.name
    for file, target in missing.items() if not dry_run else ():
        file.replace(target)


def _same_file(first: Path, second: Path) -> bool:
    if filecmp.cmp(first, second, shallow=False):
        return True
    try:
        return same_volume(first, second)
    except RuntimeError:  # no image, or none that ITK can read
        return False
