"""A point of an image that the pixels of all images are compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import nibabel
import numpy as np
import torch
from torch.nn.functional import normalize

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nearest_neighbors import cosine_similarity_to
from nnunet_pix2rep.nnunet.features.model import FeatureModel
from nnunet_pix2rep.nnunet.features.prepared_images import PreparedImage

REORIENTED = "RAS"  # the directions that the axes x, y, z point to in what nnU-Net's reorienting readers return


@dataclass(frozen=True)
class Point:
    """A pixel that others are compared with.

    Attributes:
        case: Its image.
        voxel: Its place in the preprocessed image, (z, y, x).
        features: Shape (d,).
    """

    case: str
    voxel: tuple[int, int, int]
    features: torch.Tensor


def most_distinct(features: torch.Tensor, plane: Sequence[int]) -> tuple[int, int]:
    """The pixel (y, x) of the central half of a slice that is least like the mean of the slice; features (Y * X, d)."""
    rows, columns = plane
    mean = normalize(features, dim=1).mean(dim=0)
    similarity = cosine_similarity_to(features, mean).reshape(rows, columns)
    top, left = rows // 4, columns // 4
    inner = similarity[top : max(top + 1, rows - top), left : max(left + 1, columns - left)]
    y, x = divmod(int(inner.argmin()), inner.shape[1])
    return y + top, x + left


def voxel_of_point(point: Sequence[int], image: PreparedImage, model: FeatureModel, case: str) -> tuple[int, int, int]:
    """The voxel (z, y, x) of a preprocessed image at a point (x, y[, z]) of the raw one, in its voxels.

    Raises:
        UserError: the point lies outside of the image, or where nnU-Net crops it, or names no slice of a 3D image.
    """
    forward, backward = list(model.plans_manager.transpose_forward), list(model.plans_manager.transpose_backward)
    before = np.array(image.properties["shape_before_cropping"])
    axes, flipped = _axes_in_file(image.properties)
    size_read = before[backward][::-1]  # of the array that nnU-Net's reader made, (x, y, z)
    size = np.empty(3, dtype=int)
    size[axes] = size_read
    place = ",".join(map(str, point))
    if len(point) == 2 and size[2] != 1:
        raise UserError(f"--point {place} names no slice of {case}, which has {tuple(size.tolist())} voxels (x, y, z).")
    in_file = np.array([*point, 0][:3])
    if (in_file < 0).any() or (in_file >= size).any():
        raise UserError(f"--point {place} lies outside of {case}, which has {tuple(size.tolist())} voxels (x, y, z).")
    index = np.where(flipped, size_read - 1 - in_file[axes], in_file[axes])[::-1][forward]
    box = np.array(image.properties["bbox_used_for_cropping"])
    if (index < box[:, 0]).any() or (index >= box[:, 1]).any():
        raise UserError(f"--point {place} lies in the empty margin of {case}, which nnU-Net crops.")
    ratio = np.array(image.data.shape[1:]) / (box[:, 1] - box[:, 0])
    voxel = np.floor((index - box[:, 0] + 0.5) * ratio).astype(int)
    z, y, x = np.clip(voxel, 0, np.array(image.data.shape[1:]) - 1).tolist()
    return z, y, x


def _axes_in_file(properties: Mapping[str, Any]) -> tuple[list[int], np.ndarray]:
    """How the axes (x, y, z) of the array that nnU-Net's reader made lie in the file.

    Readers that reorient turn and flip the axes, so that they point to the right, to the front and up. Viewers count
    voxels as they are stored.

    Returns:
        Which axis of the file each of them is, and whether it runs the other way.
    """
    itk, nifti = properties.get("sitk_stuff", {}), properties.get("nibabel_stuff", {})
    if "original_orientation" in itk:
        stored = list(itk["original_orientation"])
    elif "reoriented_affine" in nifti:
        stored = list(nibabel.aff2axcodes(nifti["original_affine"]))
    else:
        stored = list(REORIENTED)
    opposite = dict(zip("RLAPSI", "LRPAIS", strict=True))
    axes = [stored.index(code if code in stored else opposite[code]) for code in REORIENTED]
    return axes, np.array([code not in stored for code in REORIENTED])
