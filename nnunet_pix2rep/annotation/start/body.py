"""The body in a scan: what stands for the foreground as long as nothing is annotated."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import binary_fill_holes
from skimage.filters import threshold_otsu

LOWEST_CT_VALUE = -1024  # air has -1000 HU; what lies lower is padding around the field of view
OUTLIERS = (0.5, 99.5)  # percentiles that the histogram spans: metal would squeeze everything else into one bin
MAX_VALUES = 1_000_000  # of an image that the threshold is found by


def body_mask(image: np.ndarray, spacing: Sequence[float], is_ct: Sequence[bool]) -> np.ndarray:
    """Voxels above Otsu's threshold in any channel, with holes such as the lungs filled slice by slice.

    Where nothing lies above a threshold, as in a constant image, it is all voxels that are not zero.

    Args:
        image: Shape (C, Z, Y, X), finite.
        spacing: In mm along (Z, Y, X); the slices lie along the largest, of equal ones the first.
        is_ct: For each channel whether it holds Hounsfield units.

    Returns:
        bool, shape (Z, Y, X).
    """
    mask = np.zeros(image.shape[1:], dtype=bool)
    for channel, hounsfield in zip(image, is_ct, strict=True):
        values = np.maximum(channel, LOWEST_CT_VALUE) if hounsfield else channel
        mask |= values > _threshold(values)
    if not mask.any():
        return (image != 0).any(axis=0)
    slices = np.moveaxis(mask, int(np.argmax(spacing)), 0)
    filled = np.stack([binary_fill_holes(plane) for plane in slices])
    return np.moveaxis(filled, 0, int(np.argmax(spacing)))


def _threshold(values: np.ndarray) -> float:
    sample = values.ravel()[:: max(1, values.size // MAX_VALUES)]
    return float(threshold_otsu(np.clip(sample, *np.percentile(sample, OUTLIERS))))
