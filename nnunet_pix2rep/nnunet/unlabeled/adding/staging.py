"""The files of a new case in the dataset's format, in a scratch folder, and what nnU-Net reads from them.

Whatever is checked about a new image is checked on what nnU-Net's reader of the dataset returns for these files.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import SimpleITK
import tifffile

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.data.cine import values_on_grid
from nnunet_pix2rep.nnunet.data.dataset_reader import DatasetReader, Geometry, last_line, sidecar_of
from nnunet_pix2rep.nnunet.data.raw_images import check_complete, header_of, number_of_frames
from nnunet_pix2rep.nnunet.data.volume_writer import write_image
from nnunet_pix2rep.nnunet.unlabeled.adding.checks import (
    Reference,
    check_dimension,
    check_finite,
    check_real,
    is_unchanged,
    read_channels,
)
from nnunet_pix2rep.nnunet.unlabeled.adding.colors import TIFF_ENDINGS
from nnunet_pix2rep.nnunet.unlabeled.adding.discover import NATURAL_ENDINGS, FoundImage, ending_of
from nnunet_pix2rep.nnunet.unlabeled.adding.known_images import read_values
from nnunet_pix2rep.nnunet.unlabeled.adding.label_maps import likely_neighbors

GEOMETRY_TOLERANCE = 1e-4  # NIfTI stores single precision


@dataclass(frozen=True)
class StagedImage:
    """A new case under its final file names, in a scratch folder.

    Attributes:
        files: A file per channel, or one with all colors.
        sidecars: Files that belong to them, such as the spacing of a 3D TIFF.
        values: What nnU-Net's reader returns, (C, Z, Y, X); the frames of a cine stand for C.
        grid: The image's grid.
    """

    files: tuple[Path, ...]
    sidecars: tuple[Path, ...]
    values: np.ndarray
    grid: Geometry


def stage_image(found: FoundImage, reference: Reference, reader: DatasetReader, scratch: Path) -> StagedImage:
    """Copies the files of an image, or converts it.

    Args:
        found: The image.
        reference: What the dataset's images are like.
        reader: The dataset's reader.
        scratch: An empty folder.

    Raises:
        UserError: it cannot be read or written, has NaN or infinite voxels, or is of another kind than the dataset's
            images.
    """
    for file in found.files:
        check_complete(file)
    check_real(found.files)
    staged = _copy_as_it_is(found, reference, reader, scratch) or _convert(found, reference, reader, scratch)
    check_finite(staged.values)
    return staged


def _convert(found: FoundImage, reference: Reference, reader: DatasetReader, scratch: Path) -> StagedImage:
    channels = read_channels(found, reference)
    for channel in channels:  # before they are written: of NIfTI, nnU-Net's reader makes zeros of NaN
        check_finite(SimpleITK.GetArrayViewFromImage(channel))
    targets = _targets(found, reference, len(channels), scratch)
    copies = is_unchanged(found, channels, reference.file_ending)
    for index, (channel, target) in enumerate(zip(channels, targets, strict=True)):
        if copies:
            shutil.copyfile(found.files[index], target)
        else:
            _write_volume(channel, target)
    return _staged(targets, reader)


def neighbors_on_grid(
    image: FoundImage, siblings: Sequence[FoundImage]
) -> Iterator[tuple[str, Callable[[], np.ndarray | None]]]:
    """Names of the images beside an image, those named most alike first, and functions that read their values.

    The values are None where the grid is another one or the image cannot be read.
    """
    by_name = {sibling.name: sibling for sibling in siblings if not sibling.is_dicom}
    for name in likely_neighbors(image.name, by_name) if not image.is_dicom else ():
        yield by_name[name].label, partial(values_on_grid, by_name[name].files[0], image.files[0])


def _copy_as_it_is(found: FoundImage, reference: Reference, reader: DatasetReader, scratch: Path) -> StagedImage | None:
    """The files as they are, where nnU-Net's reader of the dataset takes them so; else None.

    Formats that ITK cannot read are no problem here, such as NIfTI with shear.
    """
    numbers = {reference.num_channels} | ({1} if reference.channels_in_one_file else set())
    other_format = any(ending_of(file, (reference.file_ending,)) is None for file in found.files)
    if found.is_dicom or other_format or len(found.files) not in numbers:
        return None
    targets = _targets(found, reference, len(found.files), scratch)
    for file, target in zip(found.files, targets, strict=True):
        shutil.copyfile(file, target)
    sidecar = _sidecar_in_source(found, reference)
    if sidecar is not None:
        shutil.copyfile(sidecar, sidecar_of(targets[0]))
    try:
        staged = _staged(targets, reader)
    except UserError as error:
        if reference.channels_in_one_file or _itk_reads(found.files):
            return None  # to be converted
        raise UserError(f"it cannot be read ({error})") from error
    is_cine = number_of_frames(targets[0], len(targets), reference.num_channels) is not None
    if not is_cine and (len(staged.values) != reference.num_channels or _has_colors(found, reference)):
        return None  # colors or a fourth axis to be split; or it is refused with the reason
    check_dimension(staged.grid.dimension, reference)
    return staged


def _staged(files: Sequence[Path], reader: DatasetReader) -> StagedImage:
    sidecars = tuple(file for file in [sidecar_of(files[0])] if file.is_file())
    return StagedImage(tuple(files), sidecars, read_values(files, reader), reader.geometry(files[0]))


def _targets(found: FoundImage, reference: Reference, number: int, scratch: Path) -> list[Path]:
    return [scratch / f"{found.name}_{index:04d}{reference.file_ending}" for index in range(number)]


def _sidecar_in_source(found: FoundImage, reference: Reference) -> Path | None:
    """The spacing beside a 3D TIFF: ``<name>.json``, also where the image has no channel number."""
    if reference.file_ending not in TIFF_ENDINGS or reference.dimension != 3:
        return None
    file = found.files[0]
    candidates = (file.with_suffix(".json"), sidecar_of(file))
    return next((path for path in candidates if path.is_file()), None)


def _itk_reads(files: Sequence[Path]) -> bool:
    try:
        for file in files:
            header_of(file)
    except RuntimeError:
        return False
    return True


def _has_colors(found: FoundImage, reference: Reference) -> bool:
    """Whether a voxel holds several values although the dataset keeps each channel in a file of its own."""
    if reference.channels_in_one_file or not _itk_reads(found.files):
        return False
    return any(header_of(file).GetNumberOfComponents() > 1 for file in found.files)


def _write_volume(volume: SimpleITK.Image, path: Path) -> None:
    if path.name.endswith(TIFF_ENDINGS) and volume.GetDimension() == 3:
        tifffile.imwrite(path, SimpleITK.GetArrayFromImage(volume), compression="zlib")
        write_json({"spacing": list(volume.GetSpacing()[::-1])}, sidecar_of(path))
        return
    try:
        write_image(volume, path, compress=True)
        header = header_of(path)
    except RuntimeError as error:
        raise UserError(f"it cannot be written as {path.name}: {last_line(error)}") from error
    if path.name.endswith(NATURAL_ENDINGS):
        return  # these formats hold no geometry
    for kind in ("Spacing", "Origin", "Direction"):
        before, after = (getattr(image, f"Get{kind}")() for image in (volume, header))
        if not np.allclose(before, after, rtol=GEOMETRY_TOLERANCE, atol=GEOMETRY_TOLERANCE):
            raise UserError(f"its {kind.lower()} {before} becomes {after} in the format of the dataset")
