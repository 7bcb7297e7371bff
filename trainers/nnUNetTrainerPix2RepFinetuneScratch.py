"""The twin of nnUNetTrainerPix2RepFinetune without pretraining."""

from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer


class nnUNetTrainerPix2RepFinetuneScratch(Pix2RepFinetuneTrainer):
    """Same optimizer, rates and schedule from random weights: the difference to the twin is the pretraining alone."""

    needs_pretrained_weights = False
