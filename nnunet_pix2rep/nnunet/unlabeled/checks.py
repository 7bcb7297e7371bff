"""Reading an image to add, and comparing it with the labelled images of a dataset."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_images import check_complete, header_of, list_raw_cases
from nnunet_pix2rep.nnunet.unlabeled.discover import NATURAL_ENDINGS, FoundImage, ending_of

MAX_REFERENCES = 50
SPACING_FACTOR = 2.0
POSITION = "0020|0032"
SLICE_TOLERANCE = 0.05  # of the slice distance


@dataclass(frozen=True)
class Reference:
    """What the labelled images of a dataset are like.

    Attributes:
        dimension: 2 or 3.
        spacing: Median spacing in mm, in the order of ITK (x, y[, z]).
        orientations: Their axes to the nearest anatomical direction, such as ``LPS``; empty in 2D.
        num_channels: Number of channels of the dataset.
        file_ending: Ending of the dataset's files.
        images: What they are called in messages.
    """

    dimension: int
    spacing: tuple[float, ...]
    orientations: frozenset[str]
    num_channels: int
    file_ending: str
    images: str = "the labelled images"

    @property
    def channels_in_one_file(self) -> bool:
        """Whether colour channels share a file, as nnU-Net's reader of natural images expects."""
        return self.file_ending in NATURAL_ENDINGS


def read_reference(images_folder: Path, num_channels: int, file_ending: str) -> Reference:
    """Reads the headers of up to 50 labelled images.

    Raises:
        UserError: there is none that ITK can read, or they are of a format that cannot be written here.
    """
    headers = []
    for files in list(list_raw_cases(images_folder, file_ending).values())[:MAX_REFERENCES]:
        try:
            headers.append(header_of(files[0]))
        except RuntimeError:
            continue
    if not headers:
        raise UserError(f"{images_folder} holds no image with the ending {file_ending} that can be read.")
    dimension = 2 if headers[0].GetDimension() == 2 else 3
    if dimension == 3 and file_ending in NATURAL_ENDINGS:
        raise UserError(
            f"The dataset has 3D images with the ending {file_ending}, whose spacing stands in other files. Put the "
            "images into imagesUn yourself, as they are in imagesTr."
        )
    spacing = np.median([header.GetSpacing()[:dimension] for header in headers], axis=0)
    orientations = frozenset(orientation_of(header.GetDirection()) for header in headers if dimension == 3)
    return Reference(dimension, tuple(float(width) for width in spacing), orientations, num_channels, file_ending)


def orientation_of(direction: Sequence[float]) -> str:
    """The orientation code of a direction matrix of a 3D or 4D image, such as ``LPS``."""
    size = int(len(direction) ** 0.5)
    spatial = np.reshape(direction, (size, size))[:3, :3].ravel().tolist()
    return SimpleITK.DICOMOrientImageFilter.GetOrientationFromDirectionCosines(spatial)


def read_channels(found: FoundImage, reference: Reference) -> list[SimpleITK.Image]:
    """Reads an image as the files that the dataset wants: one per channel, or one with all colours.

    Raises:
        UserError: it cannot be read, or has another number of channels or axes than the labelled images.
    """
    for file in found.files:
        check_complete(file)
    try:
        volumes = [_read_series(found.files)] if found.is_dicom else [SimpleITK.ReadImage(str(f)) for f in found.files]
    except RuntimeError as error:
        lines = str(error).strip().splitlines()
        raise UserError(f"it cannot be read ({lines[-1].strip() if lines else 'no reason given'})") from error
    channels = [channel for volume in volumes for channel in _split_channels(volume, len(volumes), reference)]
    found_channels = sum(channel.GetNumberOfComponentsPerPixel() for channel in channels)
    if found_channels != reference.num_channels:
        raise UserError(
            f"it has {found_channels} channel(s), the dataset has {reference.num_channels}. The channels of an image "
            "are named <name>_0000, <name>_0001, ...; files named so that are images of their own need other names"
        )
    dimension = min(channels[0].GetDimension(), 3)
    if dimension != reference.dimension:
        raise UserError(f"it is {dimension}D, {reference.images} are {reference.dimension}D")
    for channel in channels[1:]:
        if channel.GetSize() != channels[0].GetSize() or not np.allclose(
            channel.GetSpacing(), channels[0].GetSpacing()
        ):
            raise UserError("its channels differ in size or spacing")
    return channels


def compare_geometry(image: SimpleITK.Image, reference: Reference) -> list[str]:
    """What is unusual about the spacing or the orientation of an image; empty where it is like the labelled images."""
    remarks = []
    spacing = image.GetSpacing()[: reference.dimension]
    ratios = np.array(spacing) / np.array(reference.spacing)
    if (np.maximum(ratios, 1 / ratios) > SPACING_FACTOR).any():
        shown = [tuple(round(float(width), 3) for width in widths) for widths in (spacing, reference.spacing)]
        remarks.append(f"spacing {shown[0]} mm, {reference.images} have {shown[1]} mm")
    if reference.dimension == 3 and orientation_of(image.GetDirection()) not in reference.orientations:
        usual = ", ".join(sorted(reference.orientations))
        remarks.append(f"orientation {orientation_of(image.GetDirection())}, {reference.images} have {usual}")
    return remarks


def digest(channels: Sequence[SimpleITK.Image]) -> str:
    """Tells whether two images have the same voxels, whatever their files and pixel types."""
    checksum = hashlib.sha256()
    for channel in channels:
        checksum.update(str(channel.GetSize()).encode())
        checksum.update(SimpleITK.GetArrayViewFromImage(channel).astype(np.float32).tobytes())
    return checksum.hexdigest()


class KnownImages:
    """Images that a dataset has already, to find copies under another name. Files are read where sizes are equal."""

    def __init__(self, folders: Sequence[Path], file_ending: str):
        self._by_size: dict[tuple[int, ...], list[tuple[str, list[Path]]]] = defaultdict(list)
        self._digests: dict[str, str] = {}
        for folder in folders:
            for case, files in list_raw_cases(folder, file_ending).items():
                try:
                    self._by_size[header_of(files[0]).GetSize()].append((f"{folder.name}/{case}", files))
                except RuntimeError:
                    continue  # not to be read, so not to be compared with

    def find(self, channels: Sequence[SimpleITK.Image]) -> str | None:
        """``<folder>/<case>`` of an image with the same voxels, or None."""
        candidates = self._by_size.get(channels[0].GetSize(), [])
        wanted = digest(channels) if candidates else ""
        return next((name for name, files in candidates if self._digest(name, files) == wanted), None)

    def add(self, name: str, channels: Sequence[SimpleITK.Image]) -> None:
        """Remembers an image that has been added."""
        self._by_size[channels[0].GetSize()].append((name, []))
        self._digests[name] = digest(channels)

    def _digest(self, name: str, files: list[Path]) -> str:
        if name not in self._digests:
            try:
                self._digests[name] = digest([SimpleITK.ReadImage(str(file)) for file in files])
            except RuntimeError:  # damaged behind its header
                self._digests[name] = ""
        return self._digests[name]


def _split_channels(volume: SimpleITK.Image, num_files: int, reference: Reference) -> list[SimpleITK.Image]:
    """Splits colours, and the fourth axis where it must be the channels, into images of their own.

    Colours that are all equal are a grey image, as many viewers export it.
    """
    components = volume.GetNumberOfComponentsPerPixel()
    if components >= 3 and reference.num_channels == 1 and num_files == 1:
        colours = SimpleITK.GetArrayViewFromImage(volume)[..., :3]
        if (colours == colours[..., :1]).all():
            return [SimpleITK.VectorIndexSelectionCast(volume, 0)]
    if components > 1 and not reference.channels_in_one_file:
        return [SimpleITK.VectorIndexSelectionCast(volume, component) for component in range(components)]
    if volume.GetDimension() == 4 and num_files == 1 and volume.GetSize()[3] == reference.num_channels > 1:
        return [volume[:, :, :, channel] for channel in range(reference.num_channels)]
    return [volume]


def _read_series(files: Sequence[Path]) -> SimpleITK.Image:
    """Reads a DICOM series.

    Raises:
        UserError: its slices do not lie evenly: one is missing, or it is a cine or a scout.
    """
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(file) for file in files])
    reader.MetaDataDictionaryArrayUpdateOn()
    volume = reader.Execute()
    if len(files) > 1 and all(reader.HasMetaDataKey(index, POSITION) for index in range(len(files))):
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


def is_unchanged(found: FoundImage, channels: Sequence[SimpleITK.Image], file_ending: str) -> bool:
    """Whether the files hold just what :func:`read_channels` returned, in the dataset's format: they can be copied."""
    if found.is_dicom or len(found.files) != len(channels):
        return False
    return all(
        ending_of(file, (file_ending,)) is not None
        and header_of(file).GetNumberOfComponents() == channel.GetNumberOfComponentsPerPixel()
        for file, channel in zip(found.files, channels, strict=True)
    )
