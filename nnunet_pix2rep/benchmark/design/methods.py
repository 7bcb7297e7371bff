"""The methods that a benchmark compares. To add one, add an entry to :data:`METHODS`."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file

WEIGHTS_PREFIX = "weights:"
PIX2REP, PIX2REP_V2 = "nnUNetTrainerPix2RepPretrain", "nnUNetTrainerPix2RepV2Pretrain"
MASKED_AUTOENCODER = "nnUNetTrainerMaskedAutoencoderPretrain"
FINETUNE, FINETUNE_SCRATCH = "nnUNetTrainerPix2RepFinetune", "nnUNetTrainerPix2RepFinetuneScratch"
LINEAR_PROBE = "nnUNetTrainerPix2RepLinearProbe"
MEAN_TEACHER, MEAN_TEACHER_SCRATCH = "nnUNetTrainerPix2RepMeanTeacher", "nnUNetTrainerPix2RepMeanTeacherScratch"


@dataclass(frozen=True)
class Method:
    """How a network is trained.

    Attributes:
        name: As the user types it and as it stands in ``results.csv``.
        training: Trainer of the supervised stage.
        pretraining: Trainer of the self-supervised stage whose weights are handed over; None: there is none.
        weights: A checkpoint that is handed over in its place.
        adds_pretraining_length: Train for as many iterations more as a pretraining takes.
        needs_unlabelled: Whether the supervised stage takes images that are not annotated in the fold.
        settings: Settings of the plans' block ``pix2rep`` that differ from the benchmark's, such as
            ``("finetuning.head_lr=0.01",)``.
    """

    name: str
    training: str
    pretraining: str | None = None
    weights: Path | None = None
    adds_pretraining_length: bool = False
    needs_unlabelled: bool = False
    settings: tuple[str, ...] = ()

    @property
    def folder_name(self) -> str:
        """The name as that of a folder."""
        if self.weights is None:
            return self.name
        digest = hashlib.sha256(self.name.encode()).hexdigest()[:8]
        return f"weights_{re.sub(r'[^A-Za-z0-9._-]', '_', self.weights.stem)}_{digest}"

    @property
    def has_own_plans(self) -> bool:
        """Whether the supervised stage needs other settings than those of the benchmark."""
        return self.adds_pretraining_length or bool(self.settings)


METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        # The stock trainer in everything but its length, which comes from the plans.
        Method("scratch", "nnUNetTrainerConfiguredLength"),
        # What the schedule of our fine-tuning does without any weights.
        Method("scratch_same_schedule", FINETUNE_SCRATCH),
        # The baseline of equal computing time.
        Method("scratch_long", "nnUNetTrainerConfiguredLength", adds_pretraining_length=True),
        Method("pix2rep", FINETUNE, PIX2REP),
        Method("pix2rep_v2", FINETUNE, PIX2REP_V2),
        Method("pix2rep_linear", LINEAR_PROBE, PIX2REP),
        Method("pix2rep_v2_linear", LINEAR_PROBE, PIX2REP_V2),
        Method("mean_teacher", MEAN_TEACHER, PIX2REP_V2, needs_unlabelled=True),
        Method("mean_teacher_scratch", MEAN_TEACHER_SCRATCH, needs_unlabelled=True),
        Method("masked_autoencoder", FINETUNE, MASKED_AUTOENCODER),
    )
}
DEFAULT_METHODS = ("scratch", "scratch_same_schedule", "pix2rep", "pix2rep_v2", "masked_autoencoder")


def find_methods(names: Sequence[str]) -> list[Method]:
    """The methods of the given names, ``weights:PATH`` among them.

    Raises:
        UserError: an unknown name, one that is given twice, or weights that are no checkpoint.
    """
    if not names:
        raise UserError(f"--methods needs at least one of {_known()}.")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise UserError(f"--methods names {', '.join(twice)} twice.")
    return [find_method(name) for name in names]


def find_method(name: str) -> Method:
    """The method of a name; see :func:`find_methods`."""
    if name.startswith(WEIGHTS_PREFIX):
        return _method_of_weights(name)
    if name not in METHODS:
        raise UserError(f"There is no method {name!r}. Known are {_known()}.")
    return METHODS[name]


def _method_of_weights(name: str) -> Method:
    path = Path(name.removeprefix(WEIGHTS_PREFIX)).expanduser().resolve()
    load_checkpoint_file(path)
    return Method(f"{WEIGHTS_PREFIX}{path}", FINETUNE, weights=path)


def _known() -> str:
    return f"{', '.join(METHODS)} and {WEIGHTS_PREFIX}PATH"
