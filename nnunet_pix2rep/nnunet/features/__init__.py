"""Pixel features of whole images from a checkpoint."""
