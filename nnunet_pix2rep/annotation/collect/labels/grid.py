"""Label files on the grid of their image, whatever a viewer has made of the header."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel
import numpy as np
import SimpleITK
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient
from nnunetv2.imageio.tif_reader_writer import Tiff3DIO

from nnunet_pix2rep.annotation.collect.labels.placement import Placement, compare_places
from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.dataset_reader import last_line, orientation_of
from nnunet_pix2rep.nnunet.data.raw_images import (
    GRID_TOLERANCE,
    Grid,
    check_complete,
    distance_between,
    header_of,
    load_nifti,
)
from nnunet_pix2rep.nnunet.data.volume_writer import write_image
from nnunet_pix2rep.nnunet.unlabeled.adding.colors import WITH_ALPHA, is_opaque
from nnunet_pix2rep.nnunet.unlabeled.adding.discover import LOSSY_ENDINGS, NATURAL_ENDINGS, ending_of

NIBABEL_READERS = (NibabelIO, NibabelIOWithReorient)
LARGEST_STEP = 0.1  # between two values that a scaled NIfTI file can hold, up to which whole numbers are certain


@dataclass(frozen=True)
class LabelsOnGrid:
    """What a label file says.

    Attributes:
        labels: Shape (Z, Y, X), int64, as nnU-Net's reader returns the image.
        notes: What the user should know.
    """

    labels: np.ndarray
    notes: list[str] = field(default_factory=list)


def read_labels_on_grid(label_file: Path, image_files: Sequence[Path], reader: LabelFiles) -> LabelsOnGrid:
    """Reads a label file in the array order of its image.

    A header that says the same in other words (NIfTI's two transforms, axes in another order) is accepted.

    Args:
        label_file: In any format that ITK reads, or for a reader that uses nibabel in NIfTI.
        image_files: The image, a file per channel.
        reader: Of the dataset.

    Raises:
        UserError: the file is damaged, has values that are no integers, or does not lie on the image's grid. The
            message does not name the file.
    """
    if ending_of(label_file, LOSSY_ENDINGS) is not None:
        raise UserError("JPEG changes the numbers of labels: save it as PNG, which does not")
    check_complete(label_file)
    if isinstance(reader.reader, Tiff3DIO):  # its files have no header to compare
        labels = _of_shape(_values(reader, label_file), reader.geometry(image_files).shape)
        check_range(labels, "it")
        return LabelsOnGrid(labels)
    by_nibabel = isinstance(reader.reader, NIBABEL_READERS)
    has_geometry = not reader.file_ending.endswith(NATURAL_ENDINGS)
    placement = compare_places(label_file, image_files[0], by_nibabel) if has_geometry else Placement()
    if placement.as_stored and placement.nibabel_reads:
        numbers = _read_by_nibabel(label_file)  # ITK reads no sheared files
    else:
        numbers = _read_by_itk(label_file, image_files[0], has_geometry, placement.as_stored)
    return LabelsOnGrid(_through_the_reader(numbers, image_files[0], reader), placement.notes)


def _read_by_nibabel(label_file: Path) -> np.ndarray:
    stored = load_nifti(label_file).dataobj
    return _whole_numbers(np.asarray(stored).T, _rounding_of(float(stored.slope)))


def _read_by_itk(label_file: Path, image_file: Path, has_geometry: bool, as_stored: bool) -> np.ndarray:
    """Numbers of a label file, in the order of its image's axes.

    Args:
        label_file: The label file.
        image_file: Its image.
        has_geometry: Whether files of the image's format say where it lies.
        as_stored: Whether its voxels are known to be those of the image one by one.
    """
    label, image = _read(label_file), _header_of_image(image_file)
    rounding = _rounding_of(float(label.GetMetaData("scl_slope")) if label.HasMetaDataKey("scl_slope") else 0.0)
    if image.GetDimension() == 2 and label.GetDimension() == 3 and label.GetDepth() == 1:
        label = _without_third_axis(label)
    if image.GetDimension() == 3 and label.GetDimension() == 3 and not as_stored:
        label = SimpleITK.DICOMOrient(label, orientation_of(image.GetDirection()))
    if label.GetSize() != image.GetSize():
        raise UserError(f"it has {_times(label.GetSize())} voxels, its image {_times(image.GetSize())}")
    if has_geometry and not as_stored:
        check_geometry(label, image)
    return _whole_numbers(SimpleITK.GetArrayViewFromImage(label), rounding)


def _through_the_reader(numbers: np.ndarray, image_file: Path, reader: LabelFiles) -> np.ndarray:
    """Numbers in the order of the image file, as nnU-Net's reader would return them: it may turn the axes."""
    with TemporaryDirectory() as scratch:
        copy = Path(scratch) / f"label{reader.file_ending}"
        if isinstance(reader.reader, NIBABEL_READERS):
            nibabel.save(nibabel.Nifti1Image(numbers.T, load_nifti(image_file).affine), copy)
            return _values(reader, copy)
        grid = SimpleITK.GetImageFromArray(numbers)
        if not reader.file_ending.endswith(NATURAL_ENDINGS):
            image = _header_of_image(image_file)
            grid.SetSpacing(image.GetSpacing())
            grid.SetOrigin(image.GetOrigin())
            grid.SetDirection(image.GetDirection())
        write_image(grid, copy)
        return _values(reader, copy)


def _header_of_image(image_file: Path) -> SimpleITK.ImageFileReader:
    try:
        return header_of(image_file)
    except RuntimeError as error:
        raise UserError(
            f"ITK, which would compare the two, cannot read its image ({last_line(error)}): save it as NIfTI with the "
            "geometry of the image, as suggest wrote it"
        ) from error


def _without_third_axis(label: SimpleITK.Image) -> SimpleITK.Image:
    """A 3D image of one slice as a 2D image: viewers know no other, and where the slice lies does not count."""
    flat = SimpleITK.GetImageFromArray(SimpleITK.GetArrayViewFromImage(label)[0])
    flat.SetSpacing(label.GetSpacing()[:2])
    flat.SetOrigin(label.GetOrigin()[:2])
    direction = np.reshape(label.GetDirection(), (3, 3))[:2, :2]
    if abs(np.linalg.det(direction)) < 1 - GRID_TOLERANCE:
        raise UserError("it is turned out of the plane of its image: save it with the geometry of the image")
    flat.SetDirection(direction.ravel().tolist())
    return flat


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
        raise UserError(f"it cannot be read ({last_line(error)})") from error
    if label.GetNumberOfComponentsPerPixel() > 1:
        layers = SimpleITK.GetArrayViewFromImage(label)
        if ending_of(label_file, NATURAL_ENDINGS) is not None and layers.shape[-1] in WITH_ALPHA:
            layers, alpha = layers[..., :-1], layers[..., -1]
            if not is_opaque(alpha):
                raise UserError(
                    "it is transparent in places, and their numbers would count all the same: fill them with the "
                    "number that is meant, and save it without transparency"
                )
        if (layers != layers[..., :1]).any():
            raise UserError(
                "it holds several layers or colors: save it as one label map, in gray, each pixel with its number"
            )
        label = SimpleITK.VectorIndexSelectionCast(label, 0)
    return label


def _whole_numbers(values: np.ndarray, rounding: float) -> np.ndarray:
    if not np.issubdtype(values.dtype, np.integer):
        rounded = np.rint(values)
        if not np.allclose(rounded, values, rtol=0, atol=rounding):
            raise UserError("it has values that are no integers: save it as labels, without interpolation")
        values = rounded
    check_range(values, "it")
    return values.astype(np.uint8 if values.max() <= np.iinfo(np.uint8).max else np.int16)


def check_range(values: np.ndarray, name: str) -> None:
    """Raises a UserError where whole numbers are none that int16 holds from 0 on: cast, they would be others."""
    if values.min() < 0 or values.max() > np.iinfo(np.int16).max:
        raise UserError(f"{name} has values from {values.min():g} to {values.max():g}, which are no labels")


def _rounding_of(step: float) -> float:
    """By how much whole numbers may be off in a NIfTI file that scales its values by this step; 0: it does not.

    nibabel scales floating-point values to the integers of a header that is passed on: with uint8, labels up to 4 come
    back as 0, 1.004, 1.992, 2.996 and 4.
    """
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
