"""Which images of a folder go to the pool of unlabeled images, and which are left out and why."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.dataset_folders import UNLABELED_FOLDER, labeled_cases, raw_folder
from nnunet_pix2rep.nnunet.data.dataset_reader import sidecar_of
from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases, number_of_frames
from nnunet_pix2rep.nnunet.patients.patients import (
    continues_name,
    find_patients_file,
    read_patients,
    read_records,
)
from nnunet_pix2rep.nnunet.patients.split_files import known_patients
from nnunet_pix2rep.nnunet.unlabeled.adding.colors import TIFF_ENDINGS
from nnunet_pix2rep.nnunet.unlabeled.pool import PoolImage
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import PatientLookup, patients_of_test_set, pool_patients


@dataclass(frozen=True)
class Source:
    """A folder of raw images in nnU-Net's naming.

    Attributes:
        folder: The folder.
        file_ending: The ending of its images.
        other_dataset: Name of the nnU-Net dataset that it belongs to, if it is not the one that the pool is for.
    """

    folder: Path
    file_ending: str
    other_dataset: str | None = None


@dataclass
class Selection:
    """What is taken from a source.

    Attributes:
        folder: The source's folder.
        images: Identifier in the pool -> image.
        left_out: Reason -> names of what is left out.
        warnings: What the user should know.
    """

    folder: Path
    images: dict[str, PoolImage] = field(default_factory=dict)
    left_out: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    warnings: list[str] = field(default_factory=list)


def find_source(dataset_folder: Path, folder: Path | None) -> Source:
    """The source that ``-i`` names; without it ``imagesUn`` of the raw dataset.

    Raises:
        UserError: the folder is missing, holds no image, or holds labeled or test images of the dataset itself.
    """
    raw = raw_folder(dataset_folder.name)
    if folder is None:
        if raw is None:
            raise UserError(f"{dataset_folder.name} is not in nnUNet_raw. Name the folder of unlabeled images with -i.")
        folder = raw / UNLABELED_FOLDER
    folder = folder.expanduser().resolve()
    if not folder.is_dir():
        raise UserError(
            f"{folder} does not exist. Put unlabeled images there with nnunet_pix2rep add_unlabeled, or name another "
            "folder with -i."
        )
    is_dataset = (folder.parent / "dataset.json").is_file() and folder.name.startswith("images")
    # a copy elsewhere is the dataset itself too: else its test images would count as other people's
    is_copy = is_dataset and folder.parent.name == dataset_folder.name
    own = is_copy or (raw is not None and folder.parent == raw.resolve())
    if own and folder.name != UNLABELED_FOLDER:
        raise UserError(
            f"{folder} belongs to the dataset itself: labeled and test images are no unlabeled images. Those are in "
            f"{UNLABELED_FOLDER}."
        )
    other = None
    ending = read_json(dataset_folder / "dataset.json")["file_ending"]
    if is_dataset and not own:
        other, ending = folder.parent.name, read_json(folder.parent / "dataset.json")["file_ending"]
    if not list_raw_cases(folder, ending):
        raise UserError(
            f"{folder} holds no image named <case>_0000{ending}. nnunet_pix2rep add_unlabeled makes such files."
        )
    return Source(folder, ending, other)


def select_images(source: Source, dataset_folder: Path, num_channels: int) -> Selection:
    """Chooses the images of a source for the pool of a dataset.

    4D files (x, y, z, t) become a case per frame, ``<case>_frame01`` onwards. Cases of another dataset get its name in
    front. Left out are images with the name of a labeled case, images of a patient who is in ``imagesTs``, and images
    of which two would get one name.
    """
    cases = list_raw_cases(source.folder, source.file_ending)
    known = {path for files in cases.values() for path in files}
    if source.file_ending in TIFF_ENDINGS:
        known |= {sidecar_of(files[0]) for files in cases.values()}
    selection = Selection(source.folder)
    others = [path.name for path in sorted(source.folder.iterdir()) if path not in known and path.name[0] != "."]
    if others:
        selection.left_out[f"not named <case>_0000{source.file_ending}"] = others
    patients = _patients_of_other_dataset(source, cases)
    images = [
        pair
        for case, files in cases.items()
        for pair in _images_of_case(source, case, files=files, num_channels=num_channels, patient=patients.get(case))
    ]
    twice = {identifier for identifier, count in Counter(name for name, _ in images).items() if count > 1}
    labeled = set(labeled_cases(dataset_folder.name))
    of_test = _of_test_patients(dataset_folder, dict(images))
    for identifier, image in images:
        if identifier in labeled:
            selection.left_out["named like a labeled case"].append(identifier)
        elif identifier in twice:
            selection.left_out["two images would get this name"].append(identifier)
        elif identifier in of_test:
            selection.left_out["of a patient in imagesTs"].append(identifier)
        else:
            selection.images[identifier] = image
    selection.warnings = _warnings(source, dataset_folder, selection.images, labeled)
    return selection


def _images_of_case(
    source: Source, case: str, files: list[Path], num_channels: int, patient: str | None
) -> Iterator[tuple[str, PoolImage]]:
    identifier = case if source.other_dataset is None else f"{source.other_dataset}_{case}"
    stats = {path.name: path.stat() for path in files}
    sizes = {name: stat.st_size for name, stat in stats.items()}
    modified = max(stat.st_mtime_ns for stat in stats.values())
    frames = number_of_frames(files[0], len(files), num_channels)
    if frames is None:
        yield (
            identifier,
            PoolImage(
                raw_case=case,
                folder=str(source.folder),
                files=sizes,
                modified=modified,
                frame=None,
                patient=patient,
                dataset=source.other_dataset,
            ),
        )
        return
    width = max(2, len(str(frames)))
    for frame in range(1, frames + 1):
        image = PoolImage(
            raw_case=case,
            folder=str(source.folder),
            files=sizes,
            modified=modified,
            frame=frame,
            patient=patient,
            dataset=source.other_dataset,
        )
        yield f"{identifier}_frame{frame:0{width}d}", image


def _patients_of_other_dataset(source: Source, cases: Collection[str]) -> dict[str, str]:
    """Case -> patient by another dataset's ``patients.json``.

    Cases that it does not list are missing, and those whose patient only repeats the name of the case, which is what
    ``add_unlabeled`` writes where nothing is known.
    """
    file = find_patients_file(source.folder.parent) if source.other_dataset is not None else None
    if file is None:
        return {}
    listed = set(read_records(file)).intersection(cases)
    return {case: patient.name for case, patient in read_patients(listed, file).items() if patient.name != case}


def _of_test_patients(dataset_folder: Path, images: dict[str, PoolImage]) -> set[str]:
    of_test = patients_of_test_set(dataset_folder)
    return {name for name, patient in pool_patients(dataset_folder, images).items() if patient.name in of_test}


def _warnings(
    source: Source, dataset_folder: Path, images: dict[str, PoolImage], labeled: Collection[str]
) -> list[str]:
    """About images whose patient is not known for certain, which might be one of the validation patients."""
    lookup = PatientLookup(dataset_folder).find_images(images)
    found = [(image, patient) for image, patient in zip(images.values(), lookup, strict=True) if image.patient is None]
    unlisted = {image.raw_case for image, patient in found if patient is None}
    warnings = []
    if unlisted:
        warnings.append(
            f"The patients of {len(unlisted)} case(s) in {source.folder} are not known from patients.json: each is "
            "taken as a patient of its own (patientNNN_frameNN as patientNNN)."
        )
    patients = {patient.name for patient in known_patients(dataset_folder, labeled).values()}
    if source.other_dataset is not None:
        return [*warnings, *_warnings_of_equal_names(source.other_dataset, dataset_folder.name, unlisted, patients)]
    # a patient named like the case is what add_unlabeled writes where nothing is known
    by_default = {image.raw_case for image, patient in found if patient is not None and patient.name == image.raw_case}
    unsure = (unlisted | by_default) - set(labeled)
    alike = sorted(case for case in unsure if any(continues_name(case, name) for name in patients))
    if alike:
        warnings.append(
            f"{len(alike)} case(s) bear the name of a labeled patient with something behind it, for instance "
            f"{alike[0]}. If they show these patients, say so in patients.json (add_unlabeled --patients or "
            "--patient-regex writes it): else images of validation patients may be pretrained on."
        )
    return warnings


def _warnings_of_equal_names(other: str, dataset: str, cases: Collection[str], patients: Collection[str]) -> list[str]:
    """Names that two datasets share may mean the same people or, such as ``case_001``, nothing."""
    by_name = read_patients(cases)
    equal = sorted(case for case in cases if by_name[case].name in patients)
    if not equal:
        return []
    return [
        f"{len(equal)} of them bear the name of a labeled patient of {dataset}, for instance {equal[0]}, and are "
        f"taken as other people. If they are the same, say so in patients.json of {dataset}, such as "
        f'"{other}_{equal[0]}": {{"patient": "{by_name[equal[0]].name}"}}: else images of validation patients may be '
        "pretrained on."
    ]
