"""Semi-supervised training without pretraining."""

from nnunet_pix2rep.nnunet.mean_teacher_trainer import Pix2RepMeanTeacherTrainer


class nnUNetTrainerPix2RepMeanTeacherScratch(Pix2RepMeanTeacherTrainer):
    """The twin of nnUNetTrainerPix2RepMeanTeacher from random weights."""

    needs_pretrained_weights = False
