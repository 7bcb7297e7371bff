"""Semi-supervised fine-tuning from a Pix2Rep pretraining."""

from nnunet_pix2rep.nnunet.mean_teacher_trainer import Pix2RepMeanTeacherTrainer


class nnUNetTrainerPix2RepMeanTeacher(Pix2RepMeanTeacherTrainer):
    """Mean Teacher on the images that are not annotated in the fold."""
