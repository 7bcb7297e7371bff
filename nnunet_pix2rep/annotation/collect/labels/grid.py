"""Label files on the grid of their image, whatever a viewer has made of the header."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import SimpleITK
from nnunetv2.imageio.tif_reader_writer import Tiff3DIO

from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.dataset_reader import orientation_of
from nnunet_pix2rep.nnunet.data.raw_images import GRID_TOLERANCE, Grid, check_complete, distance_between, header_of
from nnunet_pix2rep.nnunet.data.volume_writer import write_image
from nnunet_pix2rep.nnunet.unlabeled.adding.discover import LOSSY_ENDINGS, NATURAL_ENDINGS, ending_of

LARGEST_STEP = 0.1  # between two values that a scaled NIfTI file can hold, up to which whole numbers are certain


def read_labels_on_grid(label_file: Path, image_files: Sequence[Path], reader: LabelFiles) -> np.ndarray:
    """Reads a label file in the array order of its image.

    A header that says the same in other words (NIfTI's two transforms, axes in another order) is accepted.

    Args:
        label_file: In any format that ITK reads.
        image_files: The image, a file per channel.
        reader: Of the dataset.

    Returns:
        Shape (Z, Y, X), int64, as nnU-Net's reader returns the image.

    Raises:
        UserError: the file is damaged, has values that are no integers, or does not lie on the image's grid. The
            message does not name the file.
    """
    if ending_of(label_file, LOSSY_ENDINGS) is not None:
        raise UserError("JPEG changes the numbers of labels: save it as PNG, which does not")
    check_complete(label_file)
    if isinstance(reader.reader, Tiff3DIO):  # its files have no header to compare
        return _of_shape(_values(reader, label_file), reader.geometry(image_files).shape)
    label, image = _read(label_file), header_of(image_files[0])
    rounding = _rounding_of(label)
    if image.GetDimension() == 3 and label.GetDimension() == 3:
        label = SimpleITK.DICOMOrient(label, orientation_of(image.GetDirection()))
    has_geometry = not reader.file_ending.endswith(NATURAL_ENDINGS)
    if label.GetSize() != image.GetSize():
        raise UserError(f"it has {_times(label.GetSize())} voxels, its image {_times(image.GetSize())}")
    if has_geometry:
        check_geometry(label, image)
    grid = SimpleITK.GetImageFromArray(_whole_numbers(label, rounding))
    if has_geometry:
        grid.SetSpacing(image.GetSpacing())
        grid.SetOrigin(image.GetOrigin())
        grid.SetDirection(image.GetDirection())
    with TemporaryDirectory() as scratch:  # a reader may turn the axes
        copy = Path(scratch) / f"label{reader.file_ending}"
        write_image(grid, copy)
        return _values(reader, copy)


def check_geometry(label: Grid, image: Grid) -> None:
    """Raises a UserError that says in what a label differs from the grid of its image, which is of the same size."""
    far = distance_between(label, image)
    if far <= GRID_TOLERANCE * min(image.GetSpacing()):
        return
    pairs_of_kinds = {
        "spacing": (label.GetSpacing(), image.GetSpacing()),
        "origin": (label.GetOrigin(), image.GetOrigin()),
        "direction": (label.GetDirection(), image.GetDirection()),
    }
    differing = [
        f"{kind} {_rounded(found)} instead of {_rounded(wanted)}"
        for kind, (found, wanted) in pairs_of_kinds.items()
        if not np.allclose(found, wanted, rtol=1e-3, atol=1e-3)
    ]
    raise UserError(f"its geometry no longer fits its image (up to {far:.2f} mm apart): {'; '.join(differing)}")


def _read(label_file: Path) -> SimpleITK.Image:
    try:
        label = SimpleITK.ReadImage(str(label_file))
    except RuntimeError as error:
        raise UserError(f"it cannot be read ({str(error).strip().splitlines()[-1].strip()})") from error
    if label.GetNumberOfComponentsPerPixel() > 1:
        layers = SimpleITK.GetArrayViewFromImage(label)
        if (layers[..., :3] != layers[..., :1]).any():
            raise UserError(
                "it holds several layers or colors: save it as one label map, in gray, each pixel with its number"
            )
        label = SimpleITK.VectorIndexSelectionCast(label, 0)
    return label


def _whole_numbers(label: SimpleITK.Image, rounding: float) -> np.ndarray:
    values = SimpleITK.GetArrayViewFromImage(label)
    if not np.issubdtype(values.dtype, np.integer):
        rounded = np.rint(values)
        if not np.allclose(rounded, values, rtol=0, atol=rounding):
            raise UserError("it has values that are no integers: save it as labels, without interpolation")
        values = rounded
    if values.min() < 0 or values.max() > np.iinfo(np.int16).max:
        raise UserError(f"it has values from {values.min():g} to {values.max():g}, which are no labels")
    return values.astype(np.uint8 if values.max() <= np.iinfo(np.uint8).max else np.int16)


def _rounding_of(label: SimpleITK.Image) -> float:
    """By how much whole numbers may be off in a NIfTI file.

    nibabel scales floating-point values to the integers of a header that is passed on: with uint8, labels up to 4 come
    back as 0, 1.004, 1.992, 2.996 and 4.
    """
    step = float(label.GetMetaData("scl_slope")) if label.HasMetaDataKey("scl_slope") else 0.0
    return 0.51 * step if 0 < step <= LARGEST_STEP else 0.0


def _values(reader: LabelFiles, file: Path) -> np.ndarray:
    try:
        return reader.read(file).labels
    except UserError as error:
        raise UserError(str(error).replace(str(file), "it").rstrip(".")) from error


def _of_shape(labels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    if labels.shape != tuple(shape):
        raise UserError(f"it has {_times(labels.shape)} voxels, its image {_times(shape)}")
    return labels


def _times(lengths: Sequence[int]) -> str:
    return " x ".join(map(str, lengths))


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(float(value), 4) + 0.0 for value in values)
