"""Pix2Rep: self-supervised pixel-level pretraining of the network that nnU-Net planned for a dataset."""

__version__ = "0.1.0"
