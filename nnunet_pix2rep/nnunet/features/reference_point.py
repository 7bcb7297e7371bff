"""A point of an image that the pixels of all images are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import normalize

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nearest_neighbors import cosine_similarity_to
from nnunet_pix2rep.nnunet.features.model import FeatureModel
from nnunet_pix2rep.nnunet.features.prepared_images import PreparedImage


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
        UserError: the point lies outside of the image, or where nnU-Net crops it.
    """
    forward = list(model.plans_manager.transpose_forward)
    index = np.array([*([0] if len(point) == 2 else []), *reversed(point)])[forward]
    box = np.array(image.properties["bbox_used_for_cropping"])
    before = np.array(image.properties["shape_before_cropping"])
    place = ",".join(map(str, point))
    if (index < 0).any() or (index >= before).any():
        size = tuple(before[list(model.plans_manager.transpose_backward)][::-1].tolist())
        raise UserError(f"--point {place} lies outside of {case}, which has {size} voxels (x, y, z).")
    if (index < box[:, 0]).any() or (index >= box[:, 1]).any():
        raise UserError(f"--point {place} lies in the empty margin of {case}, which nnU-Net crops.")
    ratio = np.array(image.data.shape[1:]) / (box[:, 1] - box[:, 0])
    voxel = np.floor((index - box[:, 0] + 0.5) * ratio).astype(int)
    z, y, x = np.clip(voxel, 0, np.array(image.data.shape[1:]) - 1).tolist()
    return z, y, x
