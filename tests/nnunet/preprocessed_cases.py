"""Tiny folders of preprocessed images, written by nnU-Net's own dataset classes."""

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import nnUNetDatasetBlosc2, nnUNetDatasetNumpy


def write_cases(folder, images, dataset_class=nnUNetDatasetBlosc2):
    """Writes name -> image of shape (C, Z, Y, X); the labels are all background."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, image in images.items():
        options = {}
        if dataset_class is nnUNetDatasetBlosc2:
            options = {"chunks": image.shape, "blocks": image.shape}
        labels = np.zeros((1, *image.shape[1:]), dtype=np.int8)
        dataset_class.save_case(image.astype(np.float32), labels, {}, str(folder / name), **options)
    return folder


__all__ = ["nnUNetDatasetBlosc2", "nnUNetDatasetNumpy", "write_cases"]
