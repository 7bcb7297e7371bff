"""Segmentation of images by nearest neighbors among annotated pixels."""
