"""Self-supervised pretraining with pixel Barlow Twins (Pix2Rep-v2)."""

from nnunet_pix2rep.nnunet.pretrain_trainer import nnUNetTrainerPix2RepV2Pretrain

__all__ = ["nnUNetTrainerPix2RepV2Pretrain"]
