"""Reading PNG, JPEG, BMP and TIFF images, with or without an alpha channel."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import SimpleITK
import tifffile
from PIL import Image

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.unlabeled.adding.discover import ending_of

TIFF_ENDINGS = (".tif", ".tiff")
WITH_ALPHA = (2, 4)  # gray with alpha, colors with alpha


def read_natural_image(file: Path, num_channels: int) -> SimpleITK.Image:
    """Reads an image, without its alpha channel where that is opaque.

    Args:
        file: PNG, JPEG, BMP or TIFF.
        num_channels: Number of channels of the dataset; an alpha channel that is one of them stays.

    Raises:
        RuntimeError: ITK cannot read the file.
        UserError: it is transparent somewhere.
    """
    image = _read(file)
    number = image.GetNumberOfComponentsPerPixel()
    if image.GetDimension() != 2 or number not in WITH_ALPHA or number == num_channels:
        return image
    if not is_opaque(SimpleITK.GetArrayViewFromImage(image)[..., -1]):
        raise UserError(
            "its alpha channel is not opaque, and nnU-Net knows no transparency: save it without, on a background of "
            "your choice"
        )
    colors = [SimpleITK.VectorIndexSelectionCast(image, index) for index in range(number - 1)]
    return SimpleITK.Compose(*colors) if len(colors) > 1 else colors[0]


def is_opaque(alpha: np.ndarray) -> bool:
    """Whether an alpha channel has its highest value everywhere."""
    opaque = np.iinfo(alpha.dtype).max if np.issubdtype(alpha.dtype, np.integer) else 1
    return bool((alpha == opaque).all())


def _read(file: Path) -> SimpleITK.Image:
    if ending_of(file, TIFF_ENDINGS) is not None and (planes := _color_planes(file)) is not None:
        return SimpleITK.GetImageFromArray(np.ascontiguousarray(planes), isVector=True)
    try:
        return SimpleITK.ReadImage(str(file))
    except RuntimeError:
        # ITK knows no gray with alpha
        gray = _gray_with_alpha(file)
        if gray is None:
            raise
    return SimpleITK.GetImageFromArray(gray, isVector=True)


def _color_planes(file: Path) -> np.ndarray | None:
    """Colors (Y, X, C) of a TIFF that stores one plane after the other, which ITK mixes up; None for other files."""
    try:
        with tifffile.TiffFile(file) as tiff:
            series = tiff.series[0]
            return np.moveaxis(series.asarray(), 0, -1) if series.axes == "SYX" else None
    except (tifffile.TiffFileError, ValueError, IndexError):
        return None  # ITK will say what is wrong


def _gray_with_alpha(file: Path) -> np.ndarray | None:
    try:
        with Image.open(file) as image:
            return np.asarray(image) if image.mode == "LA" else None
    except OSError:
        return None
