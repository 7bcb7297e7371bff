"""Settings that have changed since the training began which ``--c`` goes on with.

What only moves a training's pace or its use of memory may change in the middle of it, and the log and the checkpoint
say so. All else would make it neither the training that was begun nor the one that the settings now ask for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.config.merge import listed
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY

_LENGTHS = ("num_epochs", "num_iterations_per_epoch", "num_val_iterations_per_epoch", "save_every")
MAY_CHANGE = frozenset(
    [
        *(f"{stage}.{name}" for stage in ("pretraining", "finetuning") for name in (*_LENGTHS, "other_input_channels")),
        "pretraining.picture_every",
        "pretraining.optimization.initial_lr",
        "pretraining.optimization.weight_decay",
        "pretraining.optimization.warmup_fraction",
        "pretraining.optimization.gradient_clipping",
        "pretraining.sampling.num_points",  # what a GPU out of memory calls for
        "pretraining.info_nce.chunk_size",
        "finetuning.backbone_lr",
        "finetuning.head_lr",
        "finetuning.probe_lr",
        "finetuning.weight_decay",
        "finetuning.head_first_fraction",
        "finetuning.warmup_fraction",
    ]
)
"""Dotted names. ``other_input_channels`` is of no effect on a training that goes on."""


def changed_settings(before: Pix2RepConfig, now: Pix2RepConfig) -> dict[str, tuple[Any, Any]]:
    """Dotted name of each setting that differs -> both values."""
    old, new = dict(listed(before.to_block())), dict(listed(now.to_block()))
    return {name: (old[name], value) for name, value in new.items() if old[name] != value}


def check_changes(
    checkpoint: Mapping[str, Any],
    now: Pix2RepConfig,
    is_used: Callable[[str], bool],
    source: str,
    log: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Compares the settings that a checkpoint recorded with those of the plans; those that may change are logged.

    Settings that came after the version that wrote the checkpoint have their defaults there. Checkpoints that record no
    settings pass.

    Args:
        checkpoint: What the training goes on from.
        now: The settings of the plans.
        is_used: Whether the training depends on a setting of this dotted name; others may change unsaid.
        source: Its file, for messages.
        log: Takes what has changed.

    Returns:
        All changes since the training began, for the record: epoch, setting, values before and after.

    Raises:
        UserError: a setting has changed that must not.
    """
    record = checkpoint.get(RECORD_KEY, {})
    earlier = list(record.get("changed_settings", []))
    if "config" not in record:
        return earlier
    changed = changed_settings(Pix2RepConfig.from_record(record["config"], source), now)
    used = {name: values for name, values in changed.items() if is_used(name)}
    refused = [f"{name} was {old!r} and is {new!r} now" for name, (old, new) in used.items() if name not in MAY_CHANGE]
    if refused:
        raise UserError(
            f"The training of {source} was begun with other settings, which can't change in the middle of it: "
            f"{'; '.join(refused)}. Set them back in the plans' pix2rep block and go on with --c, or start again "
            "without --c. Plans of another name keep both trainings."
        )
    epoch = checkpoint["current_epoch"]
    for name, (old, new) in used.items():
        log(f"From epoch {epoch} on {name} is {new!r}, it was {old!r} before.")
    return [*earlier, *({"epoch": epoch, "setting": n, "before": old, "after": new} for n, (old, new) in used.items())]
