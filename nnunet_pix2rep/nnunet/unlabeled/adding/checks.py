"""Reading an image to add, and comparing it with the labeled images of a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.dataset_reader import DatasetReader, Geometry, last_line
from nnunet_pix2rep.nnunet.data.raw_images import GRID_TOLERANCE, distance_between, header_of
from nnunet_pix2rep.nnunet.unlabeled.adding.colors import read_natural_image
from nnunet_pix2rep.nnunet.unlabeled.adding.discover import NATURAL_ENDINGS, FoundImage, ending_of

MAX_REFERENCES = 50
SPACING_FACTOR = 2.0
COMPLEX = (SimpleITK.sitkComplexFloat32, SimpleITK.sitkComplexFloat64)
POSITION = "0020|0032"
SLICE_TOLERANCE = 0.05  # of the slice distance


@dataclass(frozen=True)
class Reference:
    """What the labeled images of a dataset are like.

    Attributes:
        dimension: 2 or 3.
        spacing: Median spacing in mm, in the order of ITK (x, y[, z]).
        orientations: The axes of their arrays to the nearest anatomical direction, such as ``LPS``; empty in 2D.
        num_channels: Number of channels of the dataset.
        file_ending: Ending of the dataset's files.
        images: What they are called in messages.
    """

    dimension: int
    spacing: tuple[float, ...]
    orientations: frozenset[str]
    num_channels: int
    file_ending: str
    images: str = "the labeled images"

    @property
    def channels_in_one_file(self) -> bool:
        """Whether color channels share a file, as nnU-Net's reader of natural images expects."""
        return self.file_ending in NATURAL_ENDINGS and self.dimension == 2


def read_reference(
    labeled: Mapping[str, Sequence[Path]], reader: DatasetReader, num_channels: int, file_ending: str
) -> Reference:
    """Reads the headers of up to 50 labeled images.

    Args:
        labeled: Case -> image files, of the labeled cases.
        reader: The dataset's reader.
        num_channels: Number of channels of the dataset.
        file_ending: Ending of the dataset's files.

    Raises:
        UserError: there is none, or none that can be read.
    """
    grids, problem = [], "there is none"
    for files in list(labeled.values())[:MAX_REFERENCES]:
        try:
            grids.append(reader.geometry(files[0]))
        except (UserError, IndexError) as error:
            problem = f"{files[0] if files else 'a case without files'}: {error}"
    if not grids:
        raise UserError(f"The dataset has no labeled image with the ending {file_ending} that can be read: {problem}.")
    dimension = grids[0].dimension
    spacing = np.median([grid.spacing[3 - dimension :][::-1] for grid in grids], axis=0)
    orientations = frozenset(grid.orientation for grid in grids if grid.orientation is not None)
    return Reference(
        dimension,
        tuple(float(width) for width in spacing),
        orientations=orientations,
        num_channels=num_channels,
        file_ending=file_ending,
    )


def read_channels(found: FoundImage, reference: Reference) -> list[SimpleITK.Image]:
    """Reads an image as the files that the dataset wants: one per channel, or one with all colors.

    They have voxels and geometry only: the other fields of a header may say who the patient is, as in DICOM.

    Raises:
        UserError: it cannot be read, or has another number of channels or axes than the labeled images.
    """
    try:
        if found.is_dicom:
            volumes = [_read_series(found.files)]
        else:
            volumes = [_read_file(file, reference.num_channels) for file in found.files]
    except RuntimeError as error:
        raise UserError(f"it cannot be read ({last_line(error)})") from error
    channels = [channel for volume in volumes for channel in _split_channels(volume, len(volumes), reference)]
    found_channels = sum(channel.GetNumberOfComponentsPerPixel() for channel in channels)
    if found_channels != reference.num_channels:
        raise UserError(
            f"it has {found_channels} channel(s), the dataset has {reference.num_channels}. The channels of an image "
            "are named <name>_0000, <name>_0001, ...; files named so that are images of their own need other names"
        )
    check_dimension(min(channels[0].GetDimension(), 3), reference)
    for channel in channels[1:]:
        if channel.GetSize() != channels[0].GetSize() or not np.allclose(
            channel.GetSpacing(), channels[0].GetSpacing()
        ):
            raise UserError("its channels differ in size or spacing")
    for channel in channels:
        _erase_metadata(channel)
    return channels


def _erase_metadata(image: SimpleITK.Image) -> None:
    """NRRD and MetaImage would keep all of it: names, dates of birth, comments."""
    for key in image.GetMetaDataKeys():
        image.EraseMetaData(key)


def _read_file(file: Path, num_channels: int) -> SimpleITK.Image:
    natural = ending_of(file, NATURAL_ENDINGS) is not None
    return read_natural_image(file, num_channels) if natural else SimpleITK.ReadImage(str(file))


def check_real(files: Sequence[Path]) -> None:
    """Raises a UserError at complex numbers, whose imaginary part nnU-Net's readers would drop without a word."""
    for file in files:
        try:
            kind = header_of(file).GetPixelID()
        except RuntimeError:
            continue  # the dataset's reader may know better
        if kind in COMPLEX:
            raise UserError("its voxels are complex numbers: save their magnitude as an image of its own")


def check_finite(values: np.ndarray) -> None:
    """Raises a UserError at NaN or infinite voxels, as :func:`check_complete` does for NIfTI files."""
    if not np.isfinite(values).all():
        raise UserError("it has NaN or infinite voxels")


def check_dimension(dimension: int, reference: Reference) -> None:
    """Raises a UserError where an image is 2D and the labeled ones are 3D, or the other way round."""
    if dimension != reference.dimension:
        raise UserError(f"it is {dimension}D, {reference.images} are {reference.dimension}D")


def compare_geometry(grid: Geometry, reference: Reference) -> list[str]:
    """What is unusual about the spacing or the orientation of an image; empty where it is like the labeled images."""
    remarks = []
    spacing = grid.spacing[3 - reference.dimension :][::-1]
    ratios = np.array(spacing) / np.array(reference.spacing)
    if (np.maximum(ratios, 1 / ratios) > SPACING_FACTOR).any():
        shown = [tuple(round(float(width), 3) for width in widths) for widths in (spacing, reference.spacing)]
        remarks.append(f"spacing {shown[0]} mm, {reference.images} have {shown[1]} mm")
    if grid.orientation is not None and reference.orientations and grid.orientation not in reference.orientations:
        usual = ", ".join(sorted(reference.orientations))
        remarks.append(f"orientation {grid.orientation}, {reference.images} have {usual}")
    return remarks


def compare_channels(files: Sequence[Path]) -> list[str]:
    """Where the channels of an image lie, if not in one place; empty where they do, or where ITK cannot read them.

    nnU-Net lays them onto each other voxel by voxel, whatever their headers say.
    """
    try:
        first, *others = [header_of(file) for file in files]
    except RuntimeError:
        return []
    apart = max((distance_between(other, first) for other in others), default=0.0)
    if apart <= GRID_TOLERANCE * min(first.GetSpacing()):
        return []
    return [f"its channels lie up to {apart:.2f} mm apart by their headers: if that is so, resample them onto one grid"]


def _split_channels(volume: SimpleITK.Image, num_files: int, reference: Reference) -> list[SimpleITK.Image]:
    """Splits colors, and the fourth axis where it must be the channels, into images of their own.

    Colors that are all equal are a gray image, as many viewers export it.
    """
    components = volume.GetNumberOfComponentsPerPixel()
    if components >= 3 and reference.num_channels == 1 and num_files == 1:
        colors = SimpleITK.GetArrayViewFromImage(volume)[..., :3]
        if (colors == colors[..., :1]).all():
            return [SimpleITK.VectorIndexSelectionCast(volume, 0)]
    if components > 1 and not reference.channels_in_one_file:
        return [SimpleITK.VectorIndexSelectionCast(volume, component) for component in range(components)]
    if volume.GetDimension() == 4 and num_files == 1 and volume.GetSize()[3] == reference.num_channels > 1:
        return [volume[:, :, :, channel] for channel in range(reference.num_channels)]
    return [volume]


def _read_series(files: Sequence[Path]) -> SimpleITK.Image:
    """Reads a DICOM series, or a single file with all slices (multi-frame, enhanced DICOM).

    Raises:
        UserError: its slices do not lie evenly: one is missing, or it is a cine or a scout.
    """
    if len(files) == 1:
        return SimpleITK.ReadImage(str(files[0]))  # a reader of series would put a fourth axis to it
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    reader.MetaDataDictionaryArrayUpdateOn()
    if _differ_in_kind(files):
        reader.SetOutputPixelType(SimpleITK.sitkFloat64)  # holds the numbers of all of them
    volume = reader.Execute()
    if all(reader.HasMetaDataKey(index, POSITION) for index in range(len(files))):
        positions = np.array(
            [[float(part) for part in reader.GetMetaData(index, POSITION).split("\\")] for index in range(len(files))]
        )
        steps = np.linalg.norm(np.diff(positions, axis=0), axis=1)
        if np.ptp(steps) > SLICE_TOLERANCE * steps.mean() or steps.min() == 0:
            raise UserError(
                f"its {len(files)} slices lie {steps.min():.2f} to {steps.max():.2f} mm apart: slices are missing, or "
                "it is no single volume"
            )
    return volume


def _differ_in_kind(files: Sequence[Path]) -> bool:
    """Whether the gray slices of a series are of several pixel types, as where each has a rescale slope of its own.

    ITK would cut all of them to the type of the first: PET is often integer in some slices and fractional in others.
    """
    headers = [header_of(file) for file in files]
    return len({header.GetPixelID() for header in headers}) > 1 and all(
        header.GetNumberOfComponents() == 1 for header in headers
    )


def is_unchanged(found: FoundImage, channels: Sequence[SimpleITK.Image], file_ending: str) -> bool:
    """Whether the files hold just what :func:`read_channels` returned, in the dataset's format: they can be copied."""
    if found.is_dicom or len(found.files) != len(channels):
        return False
    try:
        return all(
            ending_of(file, (file_ending,)) is not None
            and header_of(file).GetNumberOfComponents() == channel.GetNumberOfComponentsPerPixel()
            for file, channel in zip(found.files, channels, strict=True)
        )
    except RuntimeError:  # of a kind that ITK does not know, such as gray with alpha
        return False
