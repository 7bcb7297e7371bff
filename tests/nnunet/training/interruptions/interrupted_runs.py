"""Trainings that stop in the middle, for tests."""

from pathlib import Path

import pytest
from tiny_training import make_trainer

from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.finetuning.mean_teacher import Pix2RepMeanTeacherTrainer
from nnunet_pix2rep.nnunet.training.pretraining.masked_autoencoder import nnUNetTrainerMaskedAutoencoderPretrain
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import (
    nnUNetTrainerPix2RepPretrain,
    nnUNetTrainerPix2RepV2Pretrain,
)


class Finetune(Pix2RepFinetuneTrainer):
    needs_pretrained_weights = False


class MeanTeacher(Pix2RepMeanTeacherTrainer):
    needs_pretrained_weights = False


# One of each stage in the fast part, all of them where all tests run.
TRAINERS = [
    nnUNetTrainerPix2RepPretrain,
    Finetune,
    *(
        pytest.param(trainer_class, marks=pytest.mark.slow)
        for trainer_class in (nnUNetTrainerPix2RepV2Pretrain, nnUNetTrainerMaskedAutoencoderPretrain, MeanTeacher)
    ),
]
LATEST, PREVIOUS, FINAL = (f"checkpoint_{name}.pth" for name in ("latest", "previous", "final"))


class StoppedError(Exception):
    pass


def run_until(trainer, epoch, action=None):
    """Trains up to the beginning of an epoch's second step, then acts, or stops as a crash would."""
    step = trainer.train_step
    steps = []

    def train_step(batch):
        if trainer.current_epoch == epoch:
            steps.append(None)
            if len(steps) == 2:
                if action is None:
                    raise StoppedError
                action()
        return step(batch)

    trainer.train_step = train_step
    trainer.run_training()


def file_of(trainer, name):
    return Path(trainer.output_folder) / name


def interrupted(trainer_class, folder, epoch=2):
    trainer = make_trainer(trainer_class, folder)
    with pytest.raises(StoppedError):
        run_until(trainer, epoch)
    return trainer


def resumed(trainer_class, folder, **settings):
    trainer = make_trainer(trainer_class, folder, **settings)
    trainer.load_checkpoint(str(file_of(trainer, LATEST)))
    return trainer
