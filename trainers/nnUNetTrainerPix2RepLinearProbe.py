"""Linear probing of pretrained features."""

from nnunet_pix2rep.nnunet.training.finetuning.linear_probe import Pix2RepLinearProbeTrainer


class nnUNetTrainerPix2RepLinearProbe(Pix2RepLinearProbeTrainer):
    """Trains the segmentation layers alone on the frozen network."""
