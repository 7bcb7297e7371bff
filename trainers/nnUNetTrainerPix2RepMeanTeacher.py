"""Semi-supervised fine-tuning from a Pix2Rep pretraining."""

from nnunet_pix2rep.nnunet.training.finetuning.mean_teacher import Pix2RepMeanTeacherTrainer


class nnUNetTrainerPix2RepMeanTeacher(Pix2RepMeanTeacherTrainer):
    """Mean Teacher on the images that are not annotated in the fold."""
