"""Segmentation of images by nearest neighbours among annotated pixels."""
