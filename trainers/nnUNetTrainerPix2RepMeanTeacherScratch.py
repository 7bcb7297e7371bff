"""Semi-supervised training without pretraining."""

from nnunet_pix2rep.nnunet.training.finetuning.mean_teacher import Pix2RepMeanTeacherTrainer


class nnUNetTrainerPix2RepMeanTeacherScratch(Pix2RepMeanTeacherTrainer):
    """The twin of nnUNetTrainerPix2RepMeanTeacher from random weights."""

    needs_pretrained_weights = False
