"""The methods that a benchmark compares.

Every pretraining trainer is a method, and with a linear probe another. To add one of another kind, add an entry to
``_SPECIAL_METHODS``. The help of the command line reads this module, so it imports neither torch nor nnU-Net.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from nnunet_pix2rep.installation import PRETRAINING_SUFFIX, pretraining_trainers

WEIGHTS_PREFIX = "weights:"
PIX2REP_V2 = "nnUNetTrainerPix2RepV2Pretrain"
FINETUNE, FINETUNE_SCRATCH = "nnUNetTrainerPix2RepFinetune", "nnUNetTrainerPix2RepFinetuneScratch"
LINEAR_PROBE, IN_CONTEXT = "nnUNetTrainerPix2RepLinearProbe", "nnUNetTrainerPix2RepInContext"
MEAN_TEACHER, MEAN_TEACHER_SCRATCH = "nnUNetTrainerPix2RepMeanTeacher", "nnUNetTrainerPix2RepMeanTeacherScratch"


@dataclass(frozen=True)
class Method:
    """How a network is trained.

    Attributes:
        name: As the user types it and as it is in ``results.csv``.
        training: Trainer of the supervised stage.
        pretraining: Trainer of the self-supervised stage whose weights are handed over; None: there is none.
        weights: A checkpoint that is handed over in its place.
        adds_pretraining_length: Train for as many iterations more as a pretraining takes.
        needs_unlabeled: Whether the supervised stage takes images that are not annotated in the fold.
        predicts_validation_only: Whether ``nnUNetv2_predict`` cannot use what comes out, so that test patients must be
            of the dataset.
        settings: Settings of the plans' block ``pix2rep`` that differ from the benchmark's, such as
            ``("finetuning.head_lr=0.01",)``.
    """

    name: str
    training: str
    pretraining: str | None = None
    weights: Path | None = None
    adds_pretraining_length: bool = False
    needs_unlabeled: bool = False
    predicts_validation_only: bool = False
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


def name_of(pretraining_trainer: str) -> str:
    """``nnUNetTrainerMaskedAutoencoderPretrain`` is ``masked_autoencoder``: in small letters, parted at capitals."""
    words = pretraining_trainer.removeprefix("nnUNetTrainer").removesuffix(PRETRAINING_SUFFIX)
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", words).lower()


def _methods_of(pretraining_trainer: str) -> tuple[Method, Method]:
    name = name_of(pretraining_trainer)
    return (
        Method(name, FINETUNE, pretraining_trainer),
        Method(f"{name}_linear", LINEAR_PROBE, pretraining_trainer),
    )


_SPECIAL_METHODS = (
    # The stock trainer in everything but its length, which comes from the plans.
    Method("scratch", "nnUNetTrainerConfiguredLength"),
    # What the schedule of our fine-tuning does without any weights.
    Method("scratch_same_schedule", FINETUNE_SCRATCH),
    # The baseline of equal computing time.
    Method("scratch_long", "nnUNetTrainerConfiguredLength", adds_pretraining_length=True),
    Method("mean_teacher", MEAN_TEACHER, PIX2REP_V2, needs_unlabeled=True),
    Method("mean_teacher_scratch", MEAN_TEACHER_SCRATCH, needs_unlabeled=True),
    Method("in_context", IN_CONTEXT, PIX2REP_V2, predicts_validation_only=True),
)
METHODS: dict[str, Method] = {
    method.name: method
    for methods in (_SPECIAL_METHODS, *map(_methods_of, pretraining_trainers()))
    for method in methods
}
DEFAULT_METHODS = ("scratch", "scratch_same_schedule", "pix2rep", "pix2rep_v2", "masked_autoencoder")
