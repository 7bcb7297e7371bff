"""Raw images in nnU-Net's naming, ``<case>_<four digits of the channel><ending>``."""

from __future__ import annotations

import gzip
import itertools
import math
import re
import zlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, cast

import nibabel
import numpy as np
import SimpleITK
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunet_pix2rep.errors import UserError

BYTES_AT_ONCE = 2**20
NIFTI_ENDINGS = (".nii", ".nii.gz")
GRID_TOLERANCE = 0.1  # of the smallest spacing, by which the corners of equal grids may lie apart
Grid = SimpleITK.Image | SimpleITK.ImageFileReader
_DAMAGES = (EOFError, zlib.error, gzip.BadGzipFile, nibabel.filebasedimages.ImageFileError)
ITK_ENDINGS = tuple(dict.fromkeys([*SimpleITKIO.supported_file_endings, *NibabelIO.supported_file_endings]))


def list_raw_cases(folder: Path, file_ending: str) -> dict[str, list[Path]]:
    """Case -> its files in the order of the channels; empty where the folder does not exist.

    Hidden files and files of other names are left out.
    """
    expression = re.compile(r"([^.].*)_\d{4}" + re.escape(file_ending))
    cases = defaultdict(list)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = expression.fullmatch(path.name)
        if match is not None and path.is_file():
            cases[match[1]].append(path)
    return dict(cases)


def header_of(path: Path) -> SimpleITK.ImageFileReader:
    """Size, spacing, origin, direction and pixel type of an image, without its voxels.

    Raises:
        RuntimeError: ITK cannot read the file.
    """
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return reader


def distance_between(first: Grid, second: Grid) -> float:
    """How far the same corner voxels of two grids of equal size lie apart at most, in mm."""
    return max(float(np.linalg.norm(a - b)) for a, b in zip(_corners(first), _corners(second), strict=True))


def _corners(grid: Grid) -> list[np.ndarray]:
    """Where the middles of the corner voxels lie, in mm."""
    direction = np.reshape(grid.GetDirection(), (len(grid.GetSize()),) * 2)
    ends = itertools.product(*((0, length - 1) for length in grid.GetSize()))
    return [grid.GetOrigin() + direction @ (np.array(index) * grid.GetSpacing()) for index in ends]


def load_nifti(path: Path) -> Any:
    """A NIfTI image, whose voxels are read where they are asked for; nibabel's type hints know only its base class."""
    return nibabel.load(path)


def check_complete(path: Path) -> None:
    """Raises a UserError where a NIfTI file is truncated or damaged, or holds NaN or infinite voxels.

    ITK would read zeros for what is missing and for what is no number (``nifti_read_buffer`` of the NIfTI library), and
    nnU-Net would not notice.
    """
    if not path.name.endswith(NIFTI_ENDINGS):
        return
    try:
        long_enough, finite = _length_and_finiteness(path)
    except PermissionError as error:
        raise UserError("it may not be read (permission denied)") from error
    except _DAMAGES as error:
        raise UserError(f"it is truncated or damaged ({str(error).splitlines()[0]})") from error
    if not long_enough:
        raise UserError("it is truncated: the file is shorter than its header says")
    if not finite:
        raise UserError("it has NaN or infinite voxels")


def has_all_voxels(path: Path) -> bool:
    """Whether a NIfTI file is as long as its header says."""
    try:
        return _length_and_finiteness(path)[0]
    except _DAMAGES:
        return False


def _length_and_finiteness(path: Path) -> tuple[bool, bool]:
    """Whether a NIfTI file is as long as its header says, and whether all its voxels are finite."""
    data = load_nifti(path).dataobj
    with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
        length, finite = _read_through(cast(BinaryIO, file), data.offset, data.dtype)
    return length >= data.offset + math.prod(data.shape) * data.dtype.itemsize, finite


def _read_through(file: BinaryIO, offset: int, kind: np.dtype) -> tuple[int, bool]:
    """Length of a file in bytes, and whether all numbers from an offset on are finite; little is kept in memory."""
    length = len(file.read(offset))
    finite = True
    # a multiple of the size of every kind of number
    for block in iter(lambda: file.read(BYTES_AT_ONCE), b""):
        length += len(block)
        if kind.kind in "fc" and finite:
            whole = len(block) - len(block) % kind.itemsize
            finite = bool(np.isfinite(np.frombuffer(block[:whole], dtype=kind)).all())
    return length, finite


def size_of(path: Path) -> tuple[int, ...]:
    """Number of voxels along each axis of a file, in its own order (x, y, z, t).

    Raises:
        RuntimeError: it cannot be read.
    """
    try:
        return tuple(header_of(path).GetSize())
    except RuntimeError:
        if not path.name.endswith(NIFTI_ENDINGS):
            raise
    try:
        return tuple(load_nifti(path).shape)
    except (OSError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise RuntimeError(str(error)) from error


def frames_in(size: Sequence[int]) -> int | None:
    """The number of frames of a file of this size (x, y, z, t); None where it has no fourth axis."""
    return size[3] if len(size) == 4 else None


def number_of_frames(path: Path, num_files: int, num_channels: int) -> int | None:
    """The number of frames of a 4D file (x, y, z, t); None for an image that nnU-Net's reader takes as it is.

    nnU-Net reads the fourth axis of a file as channels (``SimpleITKIO.read_images``). It is time where a case has a
    file for each of the dataset's channels.

    Args:
        path: One of the case's files.
        num_files: Number of files of the case.
        num_channels: Number of channels of the dataset.
    """
    if num_files != num_channels or not path.name.endswith(ITK_ENDINGS):
        return None
    try:
        size = size_of(path)
    except RuntimeError:
        return None  # nnU-Net's reader will say what is wrong
    return frames_in(size)
