"""Raw features of an image in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK
import torch

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path
from nnunet_pix2rep.nnunet.data.raw_images import ITK_ENDINGS, header_of
from nnunet_pix2rep.nnunet.features.extraction import FeatureExtractor
from nnunet_pix2rep.nnunet.features.model import FeatureModel
from nnunet_pix2rep.nnunet.features.prepared_images import PreparedImage

RAW_FORMATS = {"npz": "_features.npz", "nifti": "_features.nii.gz"}


def check_format(model: FeatureModel, raw_format: str) -> None:
    """Raises UserError where the geometry of the dataset's files cannot be told in NIfTI."""
    reader = model.plans_manager.image_reader_writer_class.__name__
    if raw_format == "nifti" and (not model.file_ending.endswith(ITK_ENDINGS) or "Reorient" in reader):
        raise UserError(
            f"--raw nifti needs images whose axes nnU-Net reads as they are stored, but the dataset has "
            f"{model.file_ending} files and the reader {reader}. Use --raw npz."
        )


def write_features(
    extractor: FeatureExtractor, model: FeatureModel, image: PreparedImage, source: Path, raw_format: str, path: Path
) -> None:
    """Writes the features of all voxels on the preprocessed grid, atomically.

    ``npz``: ``features`` (channels, Z, Y, X) float16 in nnU-Net's axis order, ``spacing`` in mm along them,
    ``bbox_used_for_cropping`` and ``transpose_forward``, which lead back to the raw image. ``nifti``: the same as
    (x, y, z, channel) float32, placed in space where the image lies.

    Args:
        extractor: Of the network.
        model: Its checkpoint.
        image: The image.
        source: Its first file, for the position in space.
        raw_format: One of ``RAW_FORMATS``.
        path: The file.
    """
    spacing = preprocessed_spacing(model, image)
    parts = [features.half() for _, features in extractor.blocks(image.data)]
    features = torch.cat(parts).T.reshape(-1, *image.data.shape[1:]).numpy()
    with atomic_path(path) as temporary:
        if raw_format == "nifti":
            volume = _placed(features.astype(np.float32), spacing, model, image, source)
            SimpleITK.WriteImage(volume, str(temporary), useCompression=True)
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
    features: np.ndarray, spacing: np.ndarray, model: FeatureModel, image: PreparedImage, source: Path
) -> SimpleITK.Image:
    """Features (channels, *S) as a 4D image at the place of the raw image (``source``)."""
    backward = list(model.plans_manager.transpose_backward)
    original = np.array(image.properties["spacing"])
    widths = spacing[backward]
    start = np.array(image.properties["bbox_used_for_cropping"])[:, 0][backward]
    # from the centre of the raw image's first voxel to that of the features', along (z, y, x)
    offset = (start - 0.5) * original + widths / 2
    volume = SimpleITK.GetImageFromArray(features.transpose(0, *[axis + 1 for axis in backward]), isVector=False)
    header = header_of(source)
    dimension = min(header.GetDimension(), 3)
    rotation, origin = np.eye(4), np.zeros(4)
    rotation[:dimension, :dimension] = np.reshape(header.GetDirection(), (header.GetDimension(),) * 2)[
        :dimension, :dimension
    ]
    origin[:dimension] = header.GetOrigin()[:dimension]
    if dimension == 3:
        origin[:3] += rotation[:3, :3] @ offset[::-1]
    else:
        origin[:2] += rotation[:2, :2] @ offset[:0:-1]
    volume.SetSpacing((*[float(width) for width in widths[::-1]], 1.0))
    volume.SetDirection(rotation.ravel().tolist())
    volume.SetOrigin(origin.tolist())
    return volume
