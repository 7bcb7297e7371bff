"""The images that a pretraining sees, and the loaders of its batches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase, has_cases
from nnunet_pix2rep.nnunet.loading.fold_cases import pretraining_cases
from nnunet_pix2rep.nnunet.loading.patch_loader import ViewPairLoader, start_workers
from nnunet_pix2rep.nnunet.loading.training_images import (
    available_images,
    describe_held_out,
    describe_images,
    describe_waiting,
    draw_probabilities,
)
from nnunet_pix2rep.nnunet.training.base import Pix2RepTrainer
from nnunet_pix2rep.nnunet.unlabeled.pool import pool_folder

TRAINING, VALIDATION = 0, 1  # tell the seeds of the two loaders apart


def images_of_fold(trainer: Pix2RepTrainer) -> tuple[list[ImageCase], list[ImageCase]]:
    """Images for training and for the SSL validation loss.

    A numbered fold trains on every image of patients outside its validation set, annotated in the fold or not, and on
    those of the pool of unlabeled images; ``all`` trains and validates on everything.

    Raises:
        UserError: the fold leaves none for one of them.
    """
    images = available_images(trainer)
    for remark in describe_waiting(trainer):
        trainer.print_to_log_file(remark)
    if trainer.fold == "all":
        return list(images.values()), list(images.values())
    _, validation = trainer.do_split()
    training = pretraining_cases(images, validation, Path(trainer.preprocessed_dataset_folder_base))
    for remark in describe_held_out(images, training):
        trainer.print_to_log_file(remark)
    for name, cases in (("training", training), ("validation", validation)):
        if not cases:
            raise UserError(f"Fold {trainer.fold} leaves no {name} case for pretraining; use another fold, or all.")
    return [images[case] for case in training], [images[case] for case in validation]


def folder_with_images(trainer: Pix2RepTrainer) -> Path:
    """The folder of preprocessed cases; that of the pool of unlabeled images where no case is labeled."""
    own = Path(trainer.preprocessed_dataset_folder)
    pool = pool_folder(Path(trainer.preprocessed_dataset_folder_base), trainer.configuration_manager.data_identifier)
    return pool if not has_cases(own) and has_cases(pool) else own


def require_same_patients(trainer: Pix2RepTrainer, before: Sequence[str], now: Sequence[str]) -> None:
    """A resumed pretraining must hold out the patients that it has held out so far.

    Raises:
        UserError: the splits have changed since the pretraining began.
    """
    if list(before) != list(now):
        raise UserError(
            f"This pretraining in {trainer.output_folder} was begun holding out the patients "
            f"{', '.join(before) or 'none'}, but fold {trainer.fold} now holds out "
            f"{', '.join(now) or 'none'}. Restore the earlier splits_final.json, or start again without --c."
        )


def start_loaders(
    trainer: Pix2RepTrainer,
    loader_class: type[ViewPairLoader],
    view_maker: Any,
    *,
    context_size: Sequence[int],
    training: Sequence[ImageCase],
    validation: Sequence[ImageCase],
) -> tuple[Any, Any]:
    """Starts the workers of training and validation batches, each of which depends on the seed and its index alone.

    Args:
        trainer: Knows the lengths, the epoch to begin with and the device.
        loader_class: Of both loaders.
        view_maker: Makes patches ready for the network.
        context_size: nnU-Net's initial patch size.
        training: Images to draw training patches from.
        validation: Images to draw validation patches from, the same patches in every epoch.
    """
    trainer.print_to_log_file(
        f"Pretraining on {len(training)} images, SSL validation on {len(validation)}; labels are not read. "
        f"{trainer.batch_size} patches per batch; {view_maker}."
    )
    trainer.print_to_log_file(f"Pretraining images: {describe_images(training, trainer)}")
    num_workers = get_allowed_n_proc_DA()

    def start(cases: Sequence[ImageCase], purpose: int, workers: int, **batches: int) -> Any:
        loader = loader_class(
            cases,
            trainer.batch_size,
            context_size,
            view_maker,
            trainer.label_manager,
            seed=(trainer.config.pretraining.seed, trainer.local_rank, purpose),
            num_workers=workers,
            probabilities=draw_probabilities(cases, Path(trainer.preprocessed_dataset_folder_base)),
            **batches,
        )
        return start_workers(loader, pin_memory=trainer.device.type == "cuda")

    first_index = trainer.current_epoch * trainer.num_iterations_per_epoch
    return (
        start(training, TRAINING, num_workers, first_index=first_index),
        start(validation, VALIDATION, (num_workers + 1) // 2, period=trainer.num_val_iterations_per_epoch),
    )
