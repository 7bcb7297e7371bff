"""Self-supervised pretraining with a masked autoencoder, to compare Pix2Rep with."""

from nnunet_pix2rep.nnunet.masked_autoencoder_trainer import nnUNetTrainerMaskedAutoencoderPretrain

__all__ = ["nnUNetTrainerMaskedAutoencoderPretrain"]
