"""Weights to start a training from: the leak guard, loading with a report, and the record of where they come from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pix2rep.config.input_channels import ADAPT
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import check_leak, equal_names_elsewhere
from nnunet_pix2rep.nnunet.checkpoints.transfer import origin_of, transfer_weights
from nnunet_pix2rep.nnunet.training.base import Pix2RepTrainer
from nnunet_pix2rep.nnunet.training.pretrain_again import describe_unseen, fold_of_pretraining, pretraining_command


def load_starting_weights(trainer: Pix2RepTrainer, file: Path, stage: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Loads weights into a trainer's planned network after the leak guard, with a report in the log.

    Args:
        trainer: Is initialized.
        file: The checkpoint.
        stage: ``pretraining`` or ``finetuning``, whose settings say what is done with other input channels.

    Returns:
        The checkpoint's own record; and where the weights come from, which cases they have seen and what of them was
        loaded, for the record of this training.

    Raises:
        UserError: the weights do not fit, or have seen this fold's validation patients.
    """
    checkpoint = load_checkpoint_file(file)
    record = checkpoint.get(RECORD_KEY, {})
    validation = trainer.do_split()[1] if trainer.fold != "all" else []
    leaked = guard_starting_weights(
        trainer, checkpoint, file, validation, again=_command_of(trainer, record, validation, file)
    )
    settings = getattr(trainer.config, stage)
    transfer = transfer_weights(
        checkpoint,
        trainer.planned_network,
        file,
        trainer.print_to_log_file,
        adapt_channels=settings.other_input_channels == ADAPT,
        setting=f"{stage}.other_input_channels",
    )
    if stage == "finetuning":
        for remark in describe_unseen(trainer, record, validation):
            trainer.print_to_log_file(remark)
    return record, origin_of(checkpoint, file) | transfer.to_record() | {"transductive_cases": leaked}


def guard_starting_weights(
    trainer: nnUNetTrainer, checkpoint: dict[str, Any], file: Path, validation: Sequence[str], again: str | None = None
) -> list[str]:
    """The leak guard for weights to start from, with its warnings in the log.

    Args:
        trainer: Any trainer of nnU-Net.
        checkpoint: The weights.
        file: Their file.
        validation: The validation cases of the trainer's fold; none in fold ``all``.
        again: See :func:`check_leak`, as what is returned and raised.
    """
    dataset_name = trainer.plans_manager.dataset_name
    leaked = check_leak(
        checkpoint,
        file,
        dataset_name=dataset_name,
        dataset_folder=Path(trainer.preprocessed_dataset_folder_base),
        validation_cases=validation,
        again=again,
    )
    _warn_of_leaks(trainer, leaked, file)
    for other, cases in equal_names_elsewhere(checkpoint.get(RECORD_KEY, {}), dataset_name, validation).items():
        trainer.print_to_log_file(
            f"WARNING: the weights in {file} have seen images of {other}, of which {len(cases)} are named like "
            f"validation cases of {dataset_name}, such as {cases[0]}. If they are of the same patients, the validation "
            "is not one of unseen patients: the leak guard cannot know that."
        )
    return leaked


def check_continued(trainer: Pix2RepTrainer, record: dict[str, Any], file: Path) -> list[str]:
    """The leak guard for a training on labels that goes on, or validates again: its split may have changed since.

    The fold's own training cases are left to the check of the split, as in a new training: nnU-Net's case-wise folds
    may have a patient on both sides.

    Args:
        trainer: Is initialized.
        record: This package's part of the checkpoint.
        file: The checkpoint.

    Returns:
        The validation cases whose patients were seen, where that is allowed; see :func:`check_leak`.

    Raises:
        UserError: such cases exist and are not allowed.
    """
    if trainer.fold == "all" or not record:
        return []
    training, validation = trainer.do_split()
    leaked = check_leak(
        {RECORD_KEY: record | {"cases": sorted({*record.get("cases", [])} - {*training})}},
        file,
        dataset_name=trainer.plans_manager.dataset_name,
        dataset_folder=Path(trainer.preprocessed_dataset_folder_base),
        validation_cases=validation,
        continued=True,
    )
    _warn_of_leaks(trainer, leaked, file)
    return leaked


def _warn_of_leaks(trainer: nnUNetTrainer, leaked: Sequence[str], file: Path) -> None:
    if leaked:
        trainer.print_to_log_file(
            f"WARNING: transductive: the weights in {file} have seen the validation cases {', '.join(leaked)}"
        )


def _command_of(trainer: Pix2RepTrainer, record: dict[str, Any], validation: Sequence[str], file: Path) -> str | None:
    """The command that would replace a file, where it is the pretraining that belongs to the trainer's fold."""
    fold = fold_of_pretraining(trainer, record, validation)
    if fold is None:
        return None
    folder = f"{record['trainer']}__{trainer.plans_manager.plans_name}__{trainer.configuration_name}"
    own = Path(trainer.output_folder_base).parent / folder / f"fold_{fold}"
    return pretraining_command(trainer, record, fold) if file.resolve().parent == own.resolve() else None
