"""The images that a training without labels draws from, and how often it draws each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.dataset_folders import labeled_cases
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase, has_cases, preprocessed_cases
from nnunet_pix2rep.nnunet.unlabeled.pool import SUFFIX, Pool, pool_folder, preprocessing_of, read_pool
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import patients_of_test_set, patients_with_pool, pool_patients
from nnunet_pix2rep.nnunet.unlabeled.waiting import waiting_scans


def preprocessed_labeled_cases(folder: Path) -> list[ImageCase]:
    """The preprocessed images of labeled cases; none in a dataset that has no labeled case.

    Args:
        folder: A configuration's folder of preprocessed data.

    Raises:
        UserError: there are labeled cases, but none is preprocessed.
    """
    if not has_cases(folder) and not labeled_cases(folder.parent.name):
        return []
    return preprocessed_cases(str(folder))


def available_images(trainer: nnUNetTrainer) -> dict[str, ImageCase]:
    """Identifier -> image of a trainer's configuration: all labeled cases, and what may be used of the pool.

    Raises:
        UserError: there is no preprocessed image, or the pool was made under other plans.
    """
    labeled = preprocessed_labeled_cases(Path(trainer.preprocessed_dataset_folder))
    unlabeled, remarks = usable_pool_cases(
        Path(trainer.preprocessed_dataset_folder_base),
        trainer.plans_manager,
        trainer.configuration_manager,
        {case.identifier for case in labeled},
    )
    for remark in remarks:
        trainer.print_to_log_file(remark)
    if not labeled and not unlabeled:
        raise UserError(
            f"{trainer.plans_manager.dataset_name} has no labeled case, and no unlabeled image is preprocessed. Run "
            f"{_preprocess_command(trainer)}."
        )
    return {case.identifier: case for case in [*labeled, *unlabeled]}


def usable_pool_cases(
    dataset_folder: Path,
    plans_manager: PlansManager,
    configuration_manager: ConfigurationManager,
    labeled: Collection[str],
) -> tuple[list[ImageCase], list[str]]:
    """The unlabeled images that a training may draw from, before any fold is looked at.

    Images of patients in ``imagesTs`` are left out here too: they may have been added after the pool was made.

    Args:
        dataset_folder: The dataset's folder in ``nnUNet_preprocessed``.
        plans_manager: The plans.
        configuration_manager: The configuration.
        labeled: Identifiers of the labeled cases, which no image of the pool may bear.

    Returns:
        The images, and lines for the log about those that are not used; both empty where there is no pool.

    Raises:
        UserError: the pool was made under other plans, or has no record.
    """
    folder = pool_folder(dataset_folder, configuration_manager.data_identifier)
    pool = read_pool(folder)
    if pool is None:
        if folder.is_dir() and any(folder.glob("*.b2nd")):
            raise UserError(f"{folder} has no {folder.name}.json beside it. Run nnunet_pix2rep preprocess_unlabeled.")
        return [], []
    _check_plans(pool, preprocessing_of(plans_manager, configuration_manager))
    of_test = patients_of_test_set(dataset_folder)
    patients = pool_patients(dataset_folder, pool.images)
    reasons = {
        "not preprocessed": {name for name in pool.images if not pool.is_done(name)},
        "of test patients": {name for name in pool.images if patients[name].name in of_test},
        "named like a labeled case": {name for name in pool.images if name in labeled},
    }
    unused = set().union(*reasons.values())
    lines = [f"{len(names)} unlabeled image(s) not used: {why}" for why, names in reasons.items() if names]
    return [ImageCase(name, str(folder)) for name in sorted(pool.images) if name not in unused], lines


def _check_plans(pool: Pool, preprocessing: dict[str, Any]) -> None:
    changed = [name for name, value in preprocessing.items() if pool.preprocessing.get(name) != value]
    if changed:
        raise UserError(
            f"The unlabeled images in {pool.folder} were preprocessed under plans with another {', '.join(changed)}. "
            "Run nnunet_pix2rep preprocess_unlabeled again, or delete the folder and its .json to train without them."
        )


def draw_probabilities(cases: Sequence[ImageCase], dataset_folder: Path) -> list[float]:
    """Probability of each image: every patient has the same, shared evenly by the patient's images.

    Uniform over images would draw a patient with a cine of 30 frames far more often than one with a single scan.
    """
    patients = patients_with_pool(dataset_folder, [case.identifier for case in cases])
    names = [patients[case.identifier].name for case in cases]
    counts = Counter(names)
    return [1 / (len(counts) * counts[name]) for name in names]


def describe_waiting(trainer: nnUNetTrainer) -> list[str]:
    """A line for the log about scans in ``imagesUn`` that were never preprocessed; empty where there are none."""
    folder = Path(trainer.preprocessed_dataset_folder_base)
    waiting = waiting_scans(folder, trainer.configuration_manager.data_identifier)
    if not waiting:
        return []
    return [
        f"WARNING: {len(waiting)} scan(s) in imagesUn, such as {waiting[0]}, are not preprocessed for "
        f"{trainer.configuration_name}, so this training does not see them. To have them, stop it and run "
        f"{_preprocess_command(trainer)}"
    ]


def _preprocess_command(trainer: nnUNetTrainer) -> str:
    """The command that preprocesses the scans in ``imagesUn`` for a trainer's configuration."""
    plans = trainer.plans_manager
    return (
        f"nnunet_pix2rep preprocess_unlabeled -d {plans.dataset_name} -c {trainer.configuration_name} "
        f"-p {plans.plans_name}"
    )


def describe_held_out(images: Mapping[str, ImageCase], training: Collection[str]) -> list[str]:
    """A line for the log about unlabeled images that a fold leaves out; empty where it leaves out none.

    Args:
        images: Identifier -> image, all that are available.
        training: Identifiers of those that the fold's patients leave for training.
    """
    left_out = [name for name, case in images.items() if case.folder.endswith(SUFFIX) and name not in training]
    if not left_out:
        return []
    return [f"{len(left_out)} unlabeled image(s) not used: of validation patients, such as {left_out[0]}"]


def describe_images(cases: Sequence[ImageCase], trainer: nnUNetTrainer) -> str:
    """How many images and patients come from the labeled data and from the pool, for the log."""
    patients = patients_with_pool(Path(trainer.preprocessed_dataset_folder_base), [case.identifier for case in cases])
    parts = []
    for folder in sorted({case.folder for case in cases}):
        chosen = [patients[case.identifier].name for case in cases if case.folder == folder]
        parts.append(f"{len(chosen)} of {len(set(chosen))} patients from {Path(folder).name}")
    total = len({patient.name for patient in patients.values()})
    return f"{', '.join(parts)}. Each of the {total} patients is drawn equally often."
