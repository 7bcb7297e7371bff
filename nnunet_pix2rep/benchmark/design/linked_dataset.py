"""The preprocessed dataset of a benchmark: the user's data linked, folds and plans of its own.

nnU-Net takes folds and plans from the dataset's folder in ``nnUNet_preprocessed`` and writes to ``nnUNet_results``. A
benchmark needs folds and plans that the user's other trainings must not see, so it has such a folder of its own, in
which images and references are symbolic links to the user's. Nothing is written to the user's folders.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nnunet_pix2rep.benchmark.design.test_patients import shorten
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path, read_json, write_json
from nnunet_pix2rep.nnunet.data.dataset_folders import preprocessed_folder, training_cases
from nnunet_pix2rep.nnunet.data.preprocessed_images import preprocessed_cases
from nnunet_pix2rep.nnunet.patients.patients import PATIENTS_FILE, Patient
from nnunet_pix2rep.nnunet.patients.split_files import (
    REGEX_SOURCE,
    known_patients,
    read_dataset_patients,
    split_expression,
)
from nnunet_pix2rep.nnunet.plans.plans_file import plans_in, resolve_configuration
from nnunet_pix2rep.nnunet.unlabeled.pool import Pool, PoolImage, pool_folder, read_pool
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import pool_patients

REFERENCES = "gt_segmentations"
COPIED_FILES = ("dataset.json", "dataset_fingerprint.json", PATIENTS_FILE)
UNLABELED_FILE = "unlabeled_images.json"
"""The unlabeled images at a benchmark's first start, and whether each was preprocessed."""


def find_dataset(dataset: str, configuration: str, plans_name: str) -> tuple[Path, dict[str, Any]]:
    """The user's preprocessed dataset and the content of its plans.

    Raises:
        UserError: the dataset, the plans, the configuration or its preprocessed data is missing; says what to run.
    """
    folder = preprocessed_folder(dataset)
    plans_file = folder / f"{plans_name}.json"
    if not plans_file.is_file():
        found = ", ".join(plans_in(folder)) or "none"
        raise UserError(f"{plans_file} does not exist (plans found there: {found}). Name existing plans with -p.")
    plans = read_json(plans_file)
    data = folder / resolve_configuration(plans, configuration)["data_identifier"]
    command = f"nnUNetv2_preprocess -d {folder.name[7:10]} -plans_name {plans_name} -c {configuration}"
    if not data.is_dir():
        raise UserError(f"{folder.name} is not preprocessed for {configuration}: there is no {data}. Run {command}")
    preprocessed = {case.identifier for case in preprocessed_cases(str(data))}
    missing = [case for case in training_cases(folder.name) if case not in preprocessed]
    if missing:
        raise UserError(
            f"{len(missing)} case(s) of {folder.name} are not preprocessed in {data}, such as {missing[0]}. Run "
            f"{command}"
        )
    return folder, plans


def read_patients_of(dataset_folder: Path, patient_regex: str | None) -> dict[str, Patient]:
    """The patient of every case: by the regular expression, the record of ``split``, ``patients.json`` or the name."""
    if patient_regex is not None:
        return read_dataset_patients(dataset_folder.name, patient_regex)[0]
    return known_patients(dataset_folder, training_cases(dataset_folder.name))


def expression_of_patients(dataset_folder: Path, patient_regex: str | None) -> str | None:
    """The regular expression behind :func:`read_patients_of`, which unlabeled images need too; None: there is none."""
    recorded = split_expression(dataset_folder) if patient_regex is None else None
    return patient_regex if recorded is None else recorded.pattern


def record_of_expression(expression: str | None) -> dict[str, str]:
    """What the record of folds says of a regular expression, so that trainings find patients by it too."""
    return {} if expression is None else {"patients_from": f"{REGEX_SOURCE}{expression}"}


def link_dataset(source: Path, target: Path, data_identifier: str, test_patients: Iterable[str]) -> None:
    """Makes the benchmark's preprocessed dataset, or what is missing of it; its folds must be there.

    Args:
        source: The user's preprocessed dataset.
        target: The benchmark's.
        data_identifier: Name of the folder of the configuration's data.
        test_patients: Patients whose unlabeled images must not be trained on.

    Raises:
        UserError: the file system has no symbolic links, or the unlabeled images have changed.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in COPIED_FILES:
        if (source / name).is_file() and not (target / name).exists():
            with atomic_path(target / name) as temporary:
                shutil.copyfile(source / name, temporary)
    for name in (data_identifier, REFERENCES):
        link(source / name, target / name)
    link_pool(source, target, data_identifier, set(test_patients))


def link_pool(source: Path, target: Path, data_identifier: str, test_patients: set[str]) -> None:
    """Links the pool of unlabeled images as it is at the first start, so that all methods learn from the same images.

    The record of what may be used is a copy without the test patients' images. Images that come to a pool later are not
    in it. Folders of earlier versions lack ``UNLABELED_FILE``: they get it from what is there now.

    Raises:
        UserError: other images could be used than at the first start, or images of test patients could be.
    """
    pool = read_pool(pool_folder(source, data_identifier))
    own = read_pool(pool_folder(target, data_identifier))
    found = {} if pool is None else pool.images
    of_test = _images_of(test_patients, target, found if own is None else own.images)
    if own is not None and of_test:
        raise UserError(
            f"This benchmark was begun with unlabeled images of test patients: {shorten(of_test)}. Its methods may "
            "have been trained on them. Use a new folder with -o."
        )
    usable = found.keys() - set(of_test) if own is None else found.keys() & own.images.keys()
    images = {name: found[name] for name in sorted(usable)}
    _check_unlabeled({name: pool is not None and pool.is_done(name) for name in images}, target / UNLABELED_FILE)
    if own is None and pool is not None:
        copy_pool(pool, target, images)


def copy_pool(pool: Pool, target: Path, images: Mapping[str, PoolImage]) -> None:
    """Links a pool in another preprocessed dataset, where only the given images may be used."""
    folder = target / pool.folder.name
    link(pool.folder, folder)
    Pool(folder, pool.preprocessing, dict(images)).write()


def _images_of(patients: set[str], dataset_folder: Path, images: Mapping[str, PoolImage]) -> list[str]:
    """Unlabeled images of some patients. Patients are looked up by the benchmark's record of folds, not the user's."""
    return sorted(name for name, patient in pool_patients(dataset_folder, images).items() if patient.name in patients)


def _check_unlabeled(now: Mapping[str, bool], file: Path) -> None:
    """Refuses other unlabeled images than at the first start, of which it keeps a file."""
    if not file.is_file():
        write_json(now, file)
        return
    before = read_json(file)
    changes = {
        "added": now.keys() - before.keys(),
        "removed": before.keys() - now.keys(),
        "preprocessed now or no longer": {name for name in before.keys() & now.keys() if before[name] != now[name]},
    }
    if any(changes.values()):
        listed = "; ".join(f"{what}: {shorten(sorted(names))}" for what, names in changes.items() if names)
        raise UserError(
            f"The unlabeled images have changed since this benchmark was begun ({listed}). Its methods would be "
            "trained on different images. Use a new folder with -o, or bring the images of then back."
        )


def link(source: Path, target: Path) -> None:
    """Makes a symbolic link, unless it is there.

    Raises:
        UserError: something else is there, or the file system has no symbolic links.
    """
    if target.is_symlink() and target.resolve() == source.resolve():
        return
    if target.is_symlink() or target.exists():
        raise UserError(f"{target} should be a link to {source}, but is not. Choose another folder with -o.")
    try:
        target.symlink_to(source.resolve(), target_is_directory=source.is_dir())
    except OSError as error:
        raise UserError(
            f"{target} cannot be made a symbolic link to {source} ({error}). Choose a folder on a file system with "
            "symbolic links with -o."
        ) from error


def write_own_plans(target: Path, plans: Mapping[str, Any]) -> None:
    """Writes plans of the benchmark; those that are there already must be the same.

    Raises:
        UserError: the plans that they are derived from have changed since, or the defaults of settings.
    """
    path = target / f"{plans['plans_name']}.json"
    if not path.exists():
        write_json(plans, path)
        return
    earlier = read_json(path)
    changed = sorted(_differences(earlier, plans))
    if changed:
        raise UserError(
            "The plans have changed since this benchmark was begun, or another version of this package has other "
            f"defaults: {', '.join(changed[:5])} differ(s) from {path}. Restore them, go on with the version that it "
            "was begun with, or choose another folder with -o."
        )


def _differences(first: Any, second: Any, prefix: str = "") -> set[str]:
    """Dotted names of the entries that differ."""
    if not (isinstance(first, Mapping) and isinstance(second, Mapping)):
        return set() if first == second else {prefix}
    names = {*first, *second}
    parts = (_differences(first.get(name), second.get(name), f"{prefix}.{name}".lstrip(".")) for name in names)
    return set().union(*parts)
