"""Fine-tuning from a Pix2Rep pretraining with warm-up and two learning rates."""

from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer


class nnUNetTrainerPix2RepFinetune(Pix2RepFinetuneTrainer):
    """Takes the weights of ``-pretrained_weights``, or of this fold's own pretraining."""
