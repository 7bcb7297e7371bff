"""Pix2Rep pretraining and fine-tuning in one command."""

from nnunet_pix2rep.nnunet.training.finetuning.two_stages import Pix2RepBothStagesTrainer
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain


class nnUNetTrainerPix2Rep(Pix2RepBothStagesTrainer):
    """Pretrains once per set of held-out patients, then fine-tunes."""

    pretraining_class = nnUNetTrainerPix2RepPretrain
