"""Self-supervised pretraining with a masked autoencoder, to compare Pix2Rep with."""

from nnunet_pix2rep.nnunet.training.pretraining.masked_autoencoder import nnUNetTrainerMaskedAutoencoderPretrain

__all__ = ["nnUNetTrainerMaskedAutoencoderPretrain"]
