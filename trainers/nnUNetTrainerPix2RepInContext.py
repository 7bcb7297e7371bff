"""Segmentation in context of the fold's validation cases."""

from nnunet_pix2rep.nnunet.training.finetuning.in_context import Pix2RepInContextTrainer


class nnUNetTrainerPix2RepInContext(Pix2RepInContextTrainer):
    """Segments the validation cases from the annotated ones by pretrained features; trains nothing."""
