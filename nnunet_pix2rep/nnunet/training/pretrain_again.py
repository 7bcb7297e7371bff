"""When a pretraining should be done again, and the command for it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from shlex import quote
from typing import Any

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import seen_cases
from nnunet_pix2rep.nnunet.loading.fold_cases import patients_of, pretraining_cases
from nnunet_pix2rep.nnunet.loading.training_images import preprocessed_labeled_cases, usable_pool_cases
from nnunet_pix2rep.nnunet.training.base import Pix2RepTrainer


def fold_of_pretraining(trainer: Pix2RepTrainer, record: dict[str, Any], validation: Sequence[str]) -> int | str | None:
    """The fold of a pretraining of a trainer's plans that holds out its patients; None: it is of others.

    That is the trainer's own fold, or one that the two-stage trainers share the pretraining of.

    Args:
        trainer: Starts from the pretraining.
        record: This package's part of the checkpoint.
        validation: The validation cases of the trainer's fold.
    """
    own = {
        "stage": "pretraining",
        "dataset_name": trainer.plans_manager.dataset_name,
        "plans_name": trainer.plans_manager.plans_name,
        "configuration": trainer.configuration_name,
    }
    fold = record.get("fold")
    if fold is None or any(record.get(name) != value for name, value in own.items()):
        return None
    held_out = patients_of(validation, Path(trainer.preprocessed_dataset_folder_base))
    return fold if fold == trainer.fold or record.get("held_out_patients") == held_out else None


def pretraining_command(trainer: Pix2RepTrainer, record: dict[str, Any], fold: int | str) -> str:
    """The command that does a pretraining again under a trainer's plans.

    Args:
        trainer: Starts from the pretraining.
        record: This package's part of the checkpoint.
        fold: Where to pretrain.
    """
    plans = trainer.plans_manager
    start = (record.get("started_from") or {}).get("file")
    weights = f" -pretrained_weights {quote(start)}" if start else ""
    device = "" if trainer.device.type == "cuda" else f" -device {trainer.device.type}"
    return (
        f"nnUNetv2_train {plans.dataset_name} {trainer.configuration_name} {fold} -p {plans.plans_name} "
        f"-tr {record['trainer']}{weights}{device}"
    )


def describe_unseen(trainer: Pix2RepTrainer, record: dict[str, Any], validation: Sequence[str]) -> list[str]:
    """A line for the log where a pretraining has not seen images that one would see now; empty where it has.

    Nothing is said of weights of another dataset, and of checkpoints that do not list what they have seen.

    Args:
        trainer: Starts from the pretraining.
        record: This package's part of the checkpoint.
        validation: The validation cases of the trainer's fold; none in fold ``all``.
    """
    dataset_name = trainer.plans_manager.dataset_name
    if record.get("stage") != "pretraining" or record.get("dataset_name") != dataset_name or not record.get("cases"):
        return []
    try:
        images = _images_now(trainer, validation)
    except UserError:  # such as a pool of other plans, which does not matter to a training on labels
        return []
    seen = images & seen_cases(record, dataset_name)
    if seen == images:
        return []
    fold = fold_of_pretraining(trainer, record, validation)
    command = pretraining_command(trainer, record, trainer.fold if fold is None else fold)
    return [
        f"This pretraining has seen {len(seen)} of the {len(images)} images that one would see now; to pretrain again: "
        f"{command}"
    ]


def _images_now(trainer: Pix2RepTrainer, validation: Sequence[str]) -> set[str]:
    """What a pretraining in the trainer's fold would see: as :func:`images_of_fold` chooses, without its remarks."""
    folder = Path(trainer.preprocessed_dataset_folder_base)
    labeled = [case.identifier for case in preprocessed_labeled_cases(Path(trainer.preprocessed_dataset_folder))]
    pool, _ = usable_pool_cases(folder, trainer.plans_manager, trainer.configuration_manager, labeled)
    return set(pretraining_cases([*labeled, *[image.identifier for image in pool]], validation, folder))
