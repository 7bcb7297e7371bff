"""Self-supervised pretraining with pixel Barlow Twins (Pix2Rep-v2)."""

from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepV2Pretrain

__all__ = ["nnUNetTrainerPix2RepV2Pretrain"]
