"""Images as nnU-Net sees them: values and geometry by the reader that it would use for a dataset."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import SimpleITK
import tifffile
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient
from nnunetv2.imageio.reader_writer_registry import (
    determine_reader_writer_from_dataset_json,
    determine_reader_writer_from_file_ending,
)
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from nnunetv2.imageio.tif_reader_writer import Tiff3DIO

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.raw_images import header_of, load_nifti

NO_SPACING = 999  # nnU-Net's readers give the axis that 2D images lack this many times the largest spacing


@dataclass(frozen=True)
class Geometry:
    """Grid of an image.

    Attributes:
        dimension: 2 or 3.
        shape: Shape (Z, Y, X) of the array that nnU-Net's reader returns.
        spacing: Spacing along these axes, in mm.
        orientation: Where the axes (X, Y, Z) of the array point to, such as ``RAS``; None where that is not known.
    """

    dimension: int
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    orientation: str | None


class DatasetReader:
    """nnU-Net's reader of a dataset.

    ``overwrite_image_reader_writer`` of ``dataset.json`` decides, else the first of nnU-Net's readers that takes the
    file ending and reads an image of the dataset, as in planning (nnunetv2 2.8.1, dataset_fingerprint/
    fingerprint_extractor.py).

    Args:
        dataset_json: Content of ``dataset.json``.
        example: An image of the dataset; None: the ending alone decides.

    Raises:
        UserError: nnU-Net has no reader for such files.
    """

    def __init__(self, dataset_json: Mapping[str, Any], example: Path | None = None):
        content, file = dict(dataset_json), None if example is None else str(example)
        try:
            with _quiet():
                try:
                    self._class = determine_reader_writer_from_dataset_json(content, file, verbose=False)
                except RuntimeError:  # the example is damaged
                    self._class = determine_reader_writer_from_file_ending(content["file_ending"], verbose=False)
        except RuntimeError as error:
            raise UserError(
                f"nnU-Net has no reader for files with the ending {content['file_ending']}. "
                '"overwrite_image_reader_writer" in dataset.json can name one.'
            ) from error
        self._reader = self._class()

    @property
    def name(self) -> str:
        """Name of nnU-Net's class, such as ``SimpleITKIO``."""
        return str(self._class.__name__)

    def takes(self, file_ending: str) -> bool:
        """Whether the reader is made for files with this ending."""
        return file_ending.lower() in self._class.supported_file_endings

    def read(self, files: Sequence[Path]) -> tuple[np.ndarray, dict[str, Any]]:
        """Values (C, Z, Y, X), float32, and nnU-Net's properties of a case.

        Raises:
            UserError: the reader refuses the files.
        """
        return self._read(lambda: self._reader.read_images([str(file) for file in files]))

    def read_labels(self, file: Path) -> tuple[np.ndarray, dict[str, Any]]:
        """Labels (1, Z, Y, X) and nnU-Net's properties of a label file.

        Raises:
            UserError: the reader refuses the file.
        """
        return self._read(lambda: self._reader.read_seg(str(file)))

    def _read(self, read: Callable[[], tuple[np.ndarray, dict[str, Any]]]) -> tuple[np.ndarray, dict[str, Any]]:
        try:
            with _quiet():
                return read()
        except Exception as error:  # readers raise anything
            raise UserError(f"nnU-Net's {self.name} cannot read it ({last_line(error)})") from error

    def geometry(self, file: Path) -> Geometry:
        """The grid of a file, from its header where the reader is one of nnU-Net's own.

        Raises:
            UserError: the file cannot be read.
        """
        by_header = _GEOMETRY_OF.get(self._class)
        if by_header is None:
            values, properties = self.read([file])
            return Geometry(3, values.shape[1:], _floats(properties["spacing"]), None)
        try:
            return by_header(file)
        except Exception as error:  # ITK, nibabel and tifffile have no error in common
            raise UserError(f"its header cannot be read ({last_line(error)})") from error


def orientation_of(direction: Sequence[float]) -> str:
    """The orientation code of ITK's direction matrix of a 3D or 4D image, such as ``LPS``."""
    size = int(len(direction) ** 0.5)
    spatial = np.reshape(direction, (size, size))[:3, :3].ravel().tolist()
    return SimpleITK.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(spatial)


def _itk_geometry(file: Path) -> Geometry:
    header = header_of(file)
    size, spacing = header.GetSize()[:3], header.GetSpacing()[:3]
    if header.GetDimension() == 2:
        return Geometry(2, (1, *size[::-1]), (NO_SPACING * max(spacing), *spacing[::-1]), None)
    return Geometry(3, size[::-1], spacing[::-1], orientation_of(header.GetDirection()))


def _natural_geometry(file: Path) -> Geometry:
    size = header_of(file).GetSize()
    return Geometry(2, (1, size[1], size[0]), (float(NO_SPACING), 1.0, 1.0), None)


def _nibabel_geometry(file: Path) -> Geometry:
    image = load_nifti(file)
    shape, zooms = image.shape[:3], _floats(image.header.get_zooms()[:3])
    return Geometry(min(image.ndim, 3), shape[::-1], zooms[::-1], "".join(nibabel.aff2axcodes(image.affine)))


def _reoriented_geometry(file: Path) -> Geometry:
    image = load_nifti(file)
    order = np.argsort(nibabel.io_orientation(image.affine)[:, 0])  # array axis that becomes x, y, z
    shape, zooms = ([values[int(axis)] for axis in order] for values in (image.shape, image.header.get_zooms()))
    return Geometry(min(image.ndim, 3), tuple(shape[::-1]), _floats(zooms[::-1]), "RAS")


def _tiff_geometry(file: Path) -> Geometry:
    with tifffile.TiffFile(file) as tiff:
        shape = tiff.series[0].shape
    sidecar = sidecar_of(file)
    spacing = read_json(sidecar)["spacing"] if sidecar.is_file() else (1.0, 1.0, 1.0)
    return Geometry(len(shape), shape, _floats(spacing), None)


def sidecar_of(file: Path) -> Path:
    """The file that nnU-Net's ``Tiff3DIO`` reads the spacing of ``<case>_0000.tif`` from: ``<case>.json``."""
    return file.with_name(f"{file.name.removesuffix(file.suffix)[: -len('_0000')]}.json")


_GEOMETRY_OF = {
    SimpleITKIO: _itk_geometry,
    NaturalImage2DIO: _natural_geometry,
    NibabelIO: _nibabel_geometry,
    NibabelIOWithReorient: _reoriented_geometry,
    Tiff3DIO: _tiff_geometry,
}


def _floats(values: Sequence[Any]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def last_line(error: Exception) -> str:
    """The last line of an error's message, where ITK says the reason; the kind of error where it has no message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """nnU-Net's readers print what they try and what they miss."""
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.redirect_stderr(printed):
        yield
