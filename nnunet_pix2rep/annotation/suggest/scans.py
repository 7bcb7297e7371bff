"""The scans of a dataset that slices may be chosen from, and what of them is annotated."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from nnunetv2.utilities.crossval_split import generate_crossval_split
from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.annotation.slices import Slice, slice_axis
from nnunet_pix2rep.annotation.suggest.grid import ScanGrid, read_grid
from nnunet_pix2rep.annotation.suggest.planned_dataset import PlannedDataset
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.dataset_cases import labeled_images
from nnunet_pix2rep.nnunet.data.dataset_folders import UNLABELED_FOLDER
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase, preprocessed_cases
from nnunet_pix2rep.nnunet.data.sparse_labels import annotated_slices
from nnunet_pix2rep.nnunet.loading.fold_cases import check_fold
from nnunet_pix2rep.nnunet.loading.training_images import usable_pool_cases
from nnunet_pix2rep.nnunet.patients.split_files import SPLITS_FILE
from nnunet_pix2rep.nnunet.unlabeled.pool import pool_folder, read_pool
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import patients_of_test_set, patients_with_pool
from nnunet_pix2rep.nnunet.unlabeled.waiting import waiting_scans

NOT_PREPROCESSED = "scans_not_preprocessed"  # their number, in the record of what could be chosen from


@dataclass(frozen=True)
class Scan:
    """A scan.

    Attributes:
        case: nnU-Net's case identifier.
        patient: The patient that it shows.
        files: Raw image files, one per channel.
        frame: Which frame of 4D files it is, counted from 1; None: the files are the image.
        label: Its label file; None without any.
        image: The preprocessed image.
        grid: How both lie on each other.
        axis: The raw axis that slices are counted along.
        annotated: Annotated slices, ascending.
    """

    case: str
    patient: str
    files: tuple[Path, ...]
    frame: int | None
    label: Path | None
    image: ImageCase
    grid: ScanGrid
    axis: int
    annotated: tuple[int, ...]

    @property
    def num_slices(self) -> int:
        """Slices of the raw image."""
        return self.grid.shape[self.axis]

    @property
    def free_slices(self) -> list[int]:
        """Slices that are not annotated and not empty margin."""
        done = set(self.annotated)
        return [index for index in self.grid.filled_slices(self.axis) if index not in done]


@dataclass
class Scans:
    """What there is to choose from.

    Attributes:
        scans: All scans of the patients that may be annotated, sorted by case.
        patients_left_out: Patient -> why not.
        notes: What the user should know.
        waiting: Scans in ``imagesUn`` that are not preprocessed for the configuration, so that none of them is here.
    """

    scans: list[Scan]
    patients_left_out: dict[str, str]
    notes: list[str] = field(default_factory=list)
    waiting: list[str] = field(default_factory=list)

    @property
    def annotated(self) -> tuple[Slice, ...]:
        """All annotated slices."""
        return tuple(Slice(scan.case, index) for scan in self.scans for index in scan.annotated)


def find_scans(dataset: PlannedDataset, fold: int | str = "all", axis: int | None = None) -> Scans:
    """All scans of patients that are neither in the fold's validation set nor in ``imagesTs``.

    Args:
        dataset: The dataset.
        fold: Its validation patients are left out; ``all`` has none.
        axis: The raw axis that the user wants to draw across, for 3D configurations.

    Raises:
        UserError: there is none, an image is not preprocessed, or a label does not fit its image.
    """
    labeled = _labeled_cases(dataset)
    unlabeled, notes = _pool_cases(dataset, labeled)
    patients = {
        case: patient.name for case, patient in patients_with_pool(dataset.folder, [*labeled, *unlabeled]).items()
    }
    left_out = dict.fromkeys(sorted(patients_of_test_set(dataset.folder)), "in imagesTs")
    for case in _validation_cases(dataset, fold, sorted(labeled)):
        left_out.setdefault(patients[case], f"in the validation set of fold {fold}")
    files = dataset.label_files()
    scans = [
        _make_scan(dataset, files, case, patients[case], axis, *sources)
        for case, sources in sorted({**labeled, **unlabeled}.items())
        if patients[case] not in left_out
    ]
    if not scans:
        raise UserError(
            f"{dataset.name} has no preprocessed scan that could be annotated. Run nnUNetv2_preprocess, for images in "
            "imagesUn nnunet_pix2rep preprocess_unlabeled."
        )
    waiting = waiting_scans(dataset.folder, dataset.settings["data_identifier"])
    if waiting:
        notes = [f"WARNING: {describe_waiting(dataset, waiting)}", *notes]
    return Scans(scans, left_out, notes, waiting)


def describe_waiting(dataset: PlannedDataset, waiting: Sequence[str]) -> str:
    """That scans are not chosen from since they are not preprocessed, and the command that changes it."""
    number = convert_dataset_name_to_id(dataset.name)
    scans, are, were = ("scans", "are", "were") if len(waiting) > 1 else ("scan", "is", "was")
    return (
        f"{len(waiting)} {scans} in {UNLABELED_FOLDER} {are} not preprocessed for {dataset.configuration} and {were} "
        f"left out; run nnunet_pix2rep preprocess_unlabeled -d {number} -p {dataset.plans['plans_name']} -c "
        f"{dataset.configuration}, then suggest again."
    )


Sources = tuple[tuple[Path, ...], int | None, Path | None, ImageCase]
"""Raw files, frame, label and preprocessed image of a case."""


def _labeled_cases(dataset: PlannedDataset) -> dict[str, Sources]:
    """The training cases; none yet in a dataset that starts without labels."""
    found = labeled_images(dataset.raw, dataset.dataset_json)
    if not found:
        return {}
    folder = dataset.folder / dataset.settings["data_identifier"]
    done = {image.identifier: image for image in preprocessed_cases(str(folder))}
    missing = sorted(set(found) - set(done))
    if missing:
        raise UserError(f"{folder} lacks the preprocessed image of {missing[0]}. Run nnUNetv2_preprocess again.")
    return {case: (tuple(files), None, _label_of(dataset, case), done[case]) for case, files in found.items()}


def _label_of(dataset: PlannedDataset, case: str) -> Path:
    """The label of a training case, by nnU-Net's rule, see :func:`labeled_images`."""
    if "dataset" in dataset.dataset_json:
        return dataset.raw / os.path.expandvars(dataset.dataset_json["dataset"][case]["label"])
    return dataset.raw / "labelsTr" / f"{case}{dataset.dataset_json['file_ending']}"


def _pool_cases(dataset: PlannedDataset, labeled: Iterable[str]) -> tuple[dict[str, Sources], list[str]]:
    manager = PlansManager(deepcopy(dataset.plans))  # it changes what it is given
    configuration = manager.get_configuration(dataset.configuration)
    images, notes = usable_pool_cases(dataset.folder, manager, configuration, set(labeled))
    pool = read_pool(pool_folder(dataset.folder, configuration.data_identifier))
    found: dict[str, Sources] = {}
    for image in images:
        assert pool is not None, "its images have just been read from it"
        source = pool.images[image.identifier]
        folders = (Path(source.folder), dataset.raw / UNLABELED_FOLDER)  # the dataset may have been moved
        folder = next((folder for folder in folders if all((folder / name).is_file() for name in source.files)), None)
        if folder is None:
            name = next(iter(source.files))
            raise UserError(
                f"{folders[0] / name} is gone, of which {image.folder} has the preprocessed image. Bring it back."
            )
        found[image.identifier] = (tuple(folder / name for name in source.files), source.frame, None, image)
    return found, notes


def _validation_cases(dataset: PlannedDataset, fold: int | str, cases: list[str]) -> list[str]:
    if fold == "all":
        return []
    check_fold(fold, dataset.folder, cases)
    file = dataset.folder / SPLITS_FILE
    splits = read_json(file) if file.is_file() else generate_crossval_split(cases)  # as nnU-Net will make it
    if not 0 <= int(fold) < len(splits):
        raise UserError(f"Fold {fold} does not exist: there are the folds 0 to {len(splits) - 1}.")
    return [str(case) for case in splits[int(fold)]["val"]]


def _make_scan(
    dataset: PlannedDataset,
    label_files: LabelFiles,
    case: str,
    patient: str,
    axis: int | None,
    files: tuple[Path, ...],
    frame: int | None,
    label: Path | None,
    image: ImageCase,
) -> Scan:
    grid = read_grid(image, dataset.plans["transpose_forward"])
    own_axis = slice_axis(dataset.settings["patch_size"], dataset.plans["transpose_forward"], grid.spacing, axis)
    annotated: list[int] = []
    if label is not None:
        labels = read_labels(label_files, label, grid)
        annotated = annotated_slices(labels, own_axis, label_files.ignore_label)
    return Scan(
        case=case,
        patient=patient,
        files=files,
        frame=frame,
        label=label,
        image=image,
        grid=grid,
        axis=own_axis,
        annotated=tuple(annotated),
    )


def read_labels(label_files: LabelFiles, file: Path, grid: ScanGrid) -> np.ndarray:
    """Labels (Z, Y, X) of a case.

    Raises:
        UserError: the file cannot be read, or has another shape than the image had when it was preprocessed.
    """
    labels = label_files.read(file).labels
    if labels.shape != grid.shape:
        raise UserError(
            f"{file} has the shape {labels.shape}, but the image that was preprocessed has {grid.shape}. Run "
            "nnUNetv2_preprocess again."
        )
    return labels
