"""Taking checked labels into a dataset: the order of steps is such that the same command completes a broken run."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from nnunet_pix2rep.annotation.collect.dataset import RawDataset
from nnunet_pix2rep.annotation.collect.preprocess import preprocess_case, targets_of
from nnunet_pix2rep.annotation.collect.read import FinishedCase
from nnunet_pix2rep.annotation.label_files import SCRATCH_PREFIX, LabelFiles
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path, read_json, write_json
from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases
from nnunet_pix2rep.nnunet.patients.patients import PATIENTS_FILE, find_patients_file, read_patients
from nnunet_pix2rep.nnunet.unlabeled.pool import SUFFIX, PoolImage, read_pool
from nnunet_pix2rep.nnunet.unlabeled.selection import UNLABELED_FOLDER

BACKUP_FOLDER = "labelsTr_backup"


def write_labels(
    dataset: RawDataset, finished: Mapping[str, FinishedCase], reader: LabelFiles, backup: Path
) -> list[str]:
    """Writes the merged labels with the geometry of their images; what they replace is copied first.

    Returns:
        The cases whose labels were replaced.
    """
    replaced = []
    for leftover in dataset.folder.glob(f"labelsTr/{SCRATCH_PREFIX}*"):
        shutil.rmtree(leftover)
    for case, labels in finished.items():
        if not labels.is_new:
            continue
        file = dataset.label_file(case)
        if file.is_file():
            with atomic_path(backup / file.name) as copy:
                shutil.copyfile(file, copy)
            replaced.append(case)
        reader.write(labels.unpack(), file, reader.geometry(dataset.images[case]).properties)
    return replaced


def move_images(dataset: RawDataset, cases: Iterable[str]) -> list[str]:
    """Moves the images of cases from ``imagesUn`` to ``imagesTr``; their labels must be there.

    Returns:
        The cases that were moved.
    """
    unlabeled = dataset.cases_in(UNLABELED_FOLDER)
    moved = [case for case in cases if case in unlabeled]
    for case in moved:
        spacing = dataset.folder / UNLABELED_FOLDER / f"{case}.json"  # nnU-Net's format for 3D TIFF has such a file
        files = [*([spacing] if spacing.is_file() else []), *unlabeled[case]]
        for file in files:
            with atomic_path(dataset.folder / "imagesTr" / file.name) as temporary:
                _link_or_copy(file, temporary)
        for file in reversed(files):  # not before all channels are there
            file.unlink()
    return moved


def copy_images(dataset: RawDataset, cases: Iterable[str]) -> None:
    """Copies images that only the work folder has into ``imagesTr``: of frames of a cine, and of another dataset."""
    for case in cases:
        files = dataset.images[case]
        if case not in dataset.copies or files != dataset.copies[case]:
            continue
        spacing = files[0].with_name(f"{case}.json")  # nnU-Net's format for 3D TIFF has such a file
        for file in [*([spacing] if spacing.is_file() else []), *files]:
            with atomic_path(dataset.folder / "imagesTr" / file.name) as temporary:
                shutil.copyfile(file, temporary)


def _link_or_copy(source: Path, target: Path) -> None:
    """A second name for a file where the file system has such, otherwise a copy.

    A symbolic link stays one; it may be relative, so it is made anew for its new folder.
    """
    target.unlink()
    if source.is_symlink():
        target.symlink_to(source.resolve())
        return
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)  # with its mode, as a link has it


def add_patients(dataset: RawDataset, patients: Mapping[str, str]) -> Path | None:
    """Adds cases that ``patients.json`` does not list, since trainings ask it for all labeled cases.

    Without such a file one is made where the names of the cases do not tell their patients, as that of a frame of a
    cine: else the other frames of a validation patient would be pretrained on.

    Args:
        dataset: The dataset.
        patients: Case -> patient.

    Returns:
        The file, if it was made.
    """
    file = find_patients_file(dataset.folder, dataset.preprocessed)
    if file is None:
        by_name = read_patients(dataset.copies.keys() & patients.keys())
        if all(patient.name == patients[case] for case, patient in by_name.items()):
            return None
        named = dataset.patients_of({*dataset.cases_in("imagesTr"), *patients}) | {**patients}
        made = dataset.folder / PATIENTS_FILE
        write_json({case: {"patient": name, "group": None} for case, name in sorted(named.items())}, made)
        return made
    records = read_json(file)
    groups = {record["patient"]: record.get("group") for record in records.values()}
    new = {case: name for case, name in patients.items() if case not in records}
    if new:
        added = {case: {"patient": name, "group": groups.get(name)} for case, name in new.items()}
        write_json(records | added, file)
    return None


def update_dataset_json(dataset: RawDataset) -> None:
    """Brings ``numTraining`` up to date, in the raw dataset and in the preprocessed one."""
    count = len(list_raw_cases(dataset.folder / "imagesTr", dataset.ending))
    for folder in (dataset.folder, dataset.preprocessed):
        file = folder / "dataset.json" if folder is not None else None
        if file is not None and file.is_file() and (content := read_json(file)).get("numTraining") != count:
            write_json(content | {"numTraining": count}, file)


def preprocess_cases(dataset: RawDataset, axes: Mapping[str, int]) -> dict[str, list[str]]:
    """Preprocesses cases wherever the dataset has preprocessed data; those that are done are left as they are.

    Args:
        dataset: The dataset, its images in place.
        axes: Case -> axis of its slices.

    Returns:
        Name of the folder of preprocessed data -> cases preprocessed now.
    """
    if dataset.preprocessed is None:
        return {}
    images = dataset.cases_in("imagesTr")
    dataset_json = read_json(dataset.preprocessed / "dataset.json")
    done: dict[str, list[str]] = {}
    for target in targets_of(dataset.preprocessed):
        cases = done.setdefault(target.folder.name, [])
        for case, axis in axes.items():
            label_file = dataset.label_file(case)
            try:
                made = preprocess_case(
                    target, case, image_files=images[case], label_file=label_file, axis=axis, dataset_json=dataset_json
                )
            except (RuntimeError, ValueError, AssertionError) as error:  # nnU-Net's readers raise any of these
                raise UserError(
                    f"{case} was taken, but cannot be preprocessed for {target.folder.name}: {error}. Correct the "
                    "cause and run the same command again."
                ) from error
            if made:
                cases.append(case)
            truth = dataset.preprocessed / "gt_segmentations" / label_file.name
            if not truth.is_file() or truth.read_bytes() != label_file.read_bytes():
                with atomic_path(truth) as copy:
                    shutil.copyfile(label_file, copy)
    return done


def remove_from_pools(dataset: RawDataset, cases: Iterable[str]) -> None:
    """Removes cases that are labeled now from the unlabeled images of every configuration."""
    if dataset.preprocessed is None:
        return
    cases = set(cases)
    for record in sorted(dataset.preprocessed.glob(f"*{SUFFIX}.json")):
        pool = read_pool(record.with_suffix(""))
        assert pool is not None
        labeled = [name for name, image in pool.images.items() if name in cases and _is_own(image, dataset)]
        for name in labeled:
            pool.remove(name)
            del pool.images[name]
        if labeled:
            pool.write()


def _is_own(image: PoolImage, dataset: RawDataset) -> bool:
    """Whether an image comes from the dataset's ``imagesUn``, wherever that lay when the image was preprocessed."""
    source, own = Path(image.folder), dataset.folder / UNLABELED_FOLDER
    return source == own.resolve() or (source.parent.name, source.name) == (dataset.name, UNLABELED_FOLDER)
