"""Raw features of an image in a file."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import torch

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path
from nnunet_pix2rep.nnunet.data.raw_images import ITK_ENDINGS
from nnunet_pix2rep.nnunet.features.extraction import FeatureExtractor
from nnunet_pix2rep.nnunet.features.model import FeatureModel
from nnunet_pix2rep.nnunet.features.prepared_images import PreparedImage

READERS_WITH_PLACE = ("SimpleITKIO", "NibabelIO", "NibabelIOWithReorient")  # whose properties say where an image lies
RAW_FORMATS = {"npz": "_features.npz", "nifti": "_features.nii.gz"}


def check_format(model: FeatureModel, raw_format: str) -> None:
    """Raises UserError where the geometry of the dataset's files cannot be told in NIfTI."""
    reader = model.plans_manager.image_reader_writer_class.__name__
    if raw_format == "nifti" and (not model.file_ending.endswith(ITK_ENDINGS) or reader not in READERS_WITH_PLACE):
        raise UserError(
            f"--raw nifti needs images that say where they lie in space, but the dataset has {model.file_ending} files "
            f"and the reader {reader}. Use --raw npz."
        )


def write_features(
    extractor: FeatureExtractor, model: FeatureModel, image: PreparedImage, raw_format: str, path: Path
) -> None:
    """Writes the features of all voxels on the preprocessed grid, atomically.

    ``npz``: ``features`` (channels, Z, Y, X) float16 in nnU-Net's axis order, ``spacing`` in mm along them,
    ``bbox_used_for_cropping`` and ``transpose_forward``, which lead back to the raw image. ``nifti``: the same as
    (x, y, z, channel) float32, placed in space where the image lies.

    Args:
        extractor: Of the network.
        model: Its checkpoint.
        image: The image.
        raw_format: One of ``RAW_FORMATS``.
        path: The file.
    """
    spacing = preprocessed_spacing(model, image)
    parts = [features.half() for _, features in extractor.blocks(image.data)]
    features = torch.cat(parts).T.reshape(-1, *image.data.shape[1:]).numpy()
    with atomic_path(path) as temporary:
        if raw_format == "nifti":
            nibabel.save(_placed(features.astype(np.float32), spacing, model, image), temporary)
        else:
            np.savez_compressed(
                temporary,
                features=features,
                spacing=spacing,
                bbox_used_for_cropping=np.array(image.properties["bbox_used_for_cropping"]),
                transpose_forward=np.array(model.plans_manager.transpose_forward),
            )


def preprocessed_spacing(model: FeatureModel, image: PreparedImage) -> np.ndarray:
    """Voxel widths of the preprocessed image along its axes (z, y, x), in mm: resampling keeps the edges."""
    spacing = np.array(image.properties["spacing"])[list(model.plans_manager.transpose_forward)]
    before = np.array(image.properties["shape_after_cropping_and_before_resampling"])
    return spacing * before / np.array(image.data.shape[1:])


def _placed(
    features: np.ndarray, spacing: np.ndarray, model: FeatureModel, image: PreparedImage
) -> nibabel.Nifti1Image:
    """Features (channels, *S) as a 4D image at the place of the raw image, which may be oblique or sheared."""
    backward = list(model.plans_manager.transpose_backward)
    scale = spacing[backward] / np.array(image.properties["spacing"])
    start = np.array(image.properties["bbox_used_for_cropping"])[:, 0][backward]
    # where the features' voxels lie on the raw grid, along (z, y, x): resampling keeps the edges
    to_raw = np.eye(4)
    to_raw[:3, :3] = np.diag(scale[::-1])
    to_raw[:3, 3] = (start - 0.5 + scale / 2)[::-1]
    values = features.transpose(*[axis + 1 for axis in backward][::-1], 0)
    volume = nibabel.Nifti1Image(values, _raw_affine(image.properties) @ to_raw)
    volume.header.set_xyzt_units("mm")
    return volume


def _raw_affine(properties: Mapping[str, Any]) -> np.ndarray:
    """The matrix (4, 4) from voxels (x, y, z) of the array that nnU-Net's reader returned to mm (R, A, S)."""
    if "nibabel_stuff" in properties:
        content = properties["nibabel_stuff"]
        return np.asarray(content.get("reoriented_affine", content["original_affine"]))
    content, affine = properties["sitk_stuff"], np.diag([1.0, 1.0, float(properties["spacing"][0]), 1.0])
    size = len(content["spacing"])
    dimension = min(size, 3)
    directions = np.reshape(content["direction"], (size, size)) * np.array(content["spacing"])
    affine[:dimension, :dimension] = directions[:dimension, :dimension]
    affine[:dimension, 3] = content["origin"][:dimension]
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # ITK's world is (L, P, S)
