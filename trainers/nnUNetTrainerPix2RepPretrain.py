"""Self-supervised pretraining with pixel InfoNCE (Pix2Rep)."""

from nnunet_pix2rep.nnunet.pretrain_trainer import nnUNetTrainerPix2RepPretrain

__all__ = ["nnUNetTrainerPix2RepPretrain"]
