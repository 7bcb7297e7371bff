"""Adding images without labels to ``imagesUn`` of a raw dataset, in the dataset's file format."""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK
from tqdm import tqdm

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.data.dataset_folders import (
    UNLABELLED_FOLDER,
    dataset_name_of,
    is_without_labels,
    raw_folder,
)
from nnunet_pix2rep.nnunet.data.raw_dataset_writer import same_volume
from nnunet_pix2rep.nnunet.data.raw_images import header_of, list_raw_cases
from nnunet_pix2rep.nnunet.patients.patients import PATIENTS_FILE
from nnunet_pix2rep.nnunet.unlabeled.add_patients import extend_patients
from nnunet_pix2rep.nnunet.unlabeled.checks import (
    KnownImages,
    Reference,
    compare_geometry,
    is_unchanged,
    read_channels,
    read_reference,
)
from nnunet_pix2rep.nnunet.unlabeled.discover import NATURAL_ENDINGS, FoundImage, FoundImages, find_images

SCRATCH_PREFIX = ".adding_"
GEOMETRY_TOLERANCE = 1e-4  # NIfTI stores single precision


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


def add_unlabeled(
    dataset_name_or_id: str | int,
    folder: Path,
    patient_regex: str | None = None,
    patients_table: Path | None = None,
    dry_run: bool = False,
) -> AddReport:
    """Adds all images of a folder, and of the folders below it, to a dataset's unlabelled images.

    Nothing is overwritten, and what is there already stays as it is: the same command completes an interrupted run.

    Args:
        dataset_name_or_id: nnU-Net's dataset, by name or number, which must have its labelled images, or unlabelled
            ones that new ones are compared with.
        folder: NIfTI, NRRD, MetaImage or natural images, or DICOM series.
        patient_regex: Finds the patient in the name of a new case.
        patients_table: A CSV file with the columns ``case``, ``patient``, ``group``.
        dry_run: Read and check everything, write nothing.

    Raises:
        UserError: no dataset, no image, patients that are not given or contradict ``patients.json``, or an output
            folder that cannot be written to. What is wrong with a single image stands in the report.
    """
    name = dataset_name_of(dataset_name_or_id)
    raw = raw_folder(name)
    if raw is None:
        raise UserError(f"The raw dataset {name} with its dataset.json is not in the folder that nnUNet_raw names.")
    dataset_json = read_json(raw / "dataset.json")
    ending = dataset_json["file_ending"]
    num_channels = len(dataset_json.get("channel_names", dataset_json.get("modality")))
    if is_without_labels(name):
        reference = replace(read_reference(raw / UNLABELLED_FOLDER, num_channels, ending), images="the images there")
    else:
        reference = read_reference(raw / "imagesTr", num_channels, ending)
    found = find_images(folder.expanduser())
    return add_images(raw, found, reference, patient_regex, patients_table, dry_run=dry_run)


def add_images(
    raw: Path,
    found: FoundImages,
    reference: Reference,
    patient_regex: str | None = None,
    patients_table: Path | None = None,
    *,
    is_new: bool = False,
    dry_run: bool = False,
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

    Raises:
        UserError: as in :func:`add_unlabeled`.
    """
    ending = reference.file_ending
    report = AddReport(raw / UNLABELLED_FOLDER, problems=dict(found.problems), ignored=found.ignored)
    cases = {sub: list_raw_cases(raw / sub, ending) for sub in ("imagesTr", "imagesTs", UNLABELLED_FOLDER)}
    images = [image for image in found.images if not _is_named_like_a_case(image, cases, report)]
    present = [case for known in cases.values() for case in known]
    records, report.patients = extend_patients(raw, images, present, patient_regex, patients_table, is_new=is_new)
    try:
        # before the images, so that no interrupted run leaves images whose patient is not known
        if records is not None and not dry_run:
            write_json(records, raw / PATIENTS_FILE)
        _add_all(images, reference, KnownImages([raw / sub for sub in cases], ending), report, dry_run)
    except OSError as error:
        raise UserError(
            f"Cannot write to {raw}: {error}. Check permissions and free space, then run the same command again."
        ) from error
    return report


def _is_named_like_a_case(image: FoundImage, cases: Mapping[str, Collection[str]], report: AddReport) -> bool:
    for folder in ("imagesTr", "imagesTs"):
        if image.name in cases[folder]:
            report.skipped[image.label] = f"a case named {image.name} is in {folder}"
            return True
    return False


def _add_all(
    images: Sequence[FoundImage], reference: Reference, known: KnownImages, report: AddReport, dry_run: bool
) -> None:
    if not dry_run:
        report.folder.mkdir(parents=True, exist_ok=True)
    for leftover in report.folder.parent.glob(f"{SCRATCH_PREFIX}*"):
        if not dry_run:
            shutil.rmtree(leftover)
    for image in tqdm(images, desc="Checking images" if dry_run else "Adding images", unit="image"):
        try:
            channels = read_channels(image, reference)
            copy = known.find(channels)
            if copy is not None and copy != f"{report.folder.name}/{image.name}":
                report.skipped[image.label] = f"it has the same voxels as {copy}"
                continue
            _write(image, channels, reference, report, dry_run)
        except UserError as error:
            report.problems[image.label] = str(error)
            continue
        known.add(f"{report.folder.name}/{image.name}", channels)
        remarks = compare_geometry(channels[0], reference)
        if remarks:
            report.warnings[image.label] = remarks


def _write(
    image: FoundImage, channels: Sequence[SimpleITK.Image], reference: Reference, report: AddReport, dry_run: bool
) -> None:
    """Writes the files of a case under temporary names, compares them with what is there, and moves them into place."""
    names = [f"{image.name}_{index:04d}{reference.file_ending}" for index in range(len(channels))]
    targets = [report.folder / name for name in names]
    if dry_run and not any(target.exists() for target in targets):
        report.added[image.label] = image.name
        return
    copies = is_unchanged(image, channels, reference.file_ending)
    with TemporaryDirectory(dir=None if dry_run else report.folder.parent, prefix=SCRATCH_PREFIX) as scratch:
        written = [Path(scratch) / name for name in names]
        for index, path in enumerate(written):
            if copies:
                shutil.copyfile(image.files[index], path)
            else:
                _write_volume(channels[index], path)
        differing = [t.name for t, w in zip(targets, written, strict=True) if t.exists() and not same_volume(w, t)]
        if differing:
            raise UserError(
                f"{differing[0]} is in {report.folder.name} already and is another image: rename one of them"
            )
        missing = [(w, t) for w, t in zip(written, targets, strict=True) if not t.exists()]
        (report.added if missing else report.present)[image.label] = image.name
        for path, target in missing if not dry_run else ():
            path.replace(target)


def _write_volume(volume: SimpleITK.Image, path: Path) -> None:
    try:
        SimpleITK.WriteImage(volume, str(path), useCompression=True)
        header = header_of(path)
    except RuntimeError as error:
        raise UserError(
            f"it cannot be written as {path.name}: {str(error).strip().splitlines()[-1].strip()}"
        ) from error
    if path.name.endswith(NATURAL_ENDINGS):
        return  # these formats hold no geometry
    for kind in ("Spacing", "Origin", "Direction"):
        before, after = (getattr(image, f"Get{kind}")() for image in (volume, header))
        if not np.allclose(before, after, rtol=GEOMETRY_TOLERANCE, atol=GEOMETRY_TOLERANCE):
            raise UserError(f"its {kind.lower()} {before} becomes {after} in the format of the dataset")
