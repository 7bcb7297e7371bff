"""Self-supervised pretraining with pixel InfoNCE (Pix2Rep)."""

from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain

__all__ = ["nnUNetTrainerPix2RepPretrain"]
