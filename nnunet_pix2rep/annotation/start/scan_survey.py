"""What most scans of a folder are like: the reference that a dataset without labeled images lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import SimpleITK
from nnunetv2.imageio.natural_image_reader_writer import NaturalImage2DIO
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.dataset_reader import orientation_of
from nnunet_pix2rep.nnunet.data.raw_images import header_of
from nnunet_pix2rep.nnunet.unlabeled.adding.checks import MAX_REFERENCES, Reference
from nnunet_pix2rep.nnunet.unlabeled.adding.discover import NATURAL_ENDINGS, FoundImage, ending_of

VOLUME_ENDING, NATURAL_ENDING = ".nii.gz", ".png"
DEFAULT_CHANNEL = "MRI"
CT = "CT"
MODALITY = "0008|0060"
COLORS = {3: ("R", "G", "B"), 4: ("R", "G", "B", "A")}

Value = TypeVar("Value", bound=Hashable)


@dataclass(frozen=True)
class SurveyedScan:
    """The header of a scan.

    Attributes:
        dimension: 2 or 3; a cine (x, y, z, t) is 3D.
        spacing: In mm, in the order of ITK (x, y[, z]).
        orientation: Such as ``LPS``; empty in 2D.
        num_files: Number of files, one per channel; 1 for a DICOM series.
        num_colors: Number of colors that differ: 1 for a gray image saved in colors.
        is_natural: Whether it is a PNG, JPEG, BMP or TIFF image.
        modality: As DICOM names it, such as ``CT``; empty where that is not known.
    """

    dimension: int
    spacing: tuple[float, ...]
    orientation: str
    num_files: int
    num_colors: int
    is_natural: bool
    modality: str = ""


def survey(images: Sequence[FoundImage]) -> list[SurveyedScan]:
    """Reads up to 50 scans, spread evenly over those given; scans that cannot be read are left out.

    Raises:
        UserError: none can be read.
    """
    positions = np.linspace(0, len(images) - 1, min(len(images), MAX_REFERENCES)).round().astype(int)
    scans = []
    for image in (images[position] for position in positions):
        try:
            scans.append(_survey_one(image))
        except RuntimeError:  # ITK's; adding the image will name it
            continue
    if not scans:
        examples = ", ".join(image.label for image in images[:3])
        raise UserError(f"None of the scans can be read: {examples}{', ...' if len(images) > 3 else ''}.")
    return scans


def _survey_one(image: FoundImage) -> SurveyedScan:
    is_natural = not image.is_dicom and ending_of(image.files[0], NATURAL_ENDINGS) is not None
    # the distance of the slices of a DICOM series is in no single file
    found = SimpleITK.ReadImage(list(map(str, image.files))) if image.is_dicom else header_of(image.files[0])
    dimension = min(found.GetDimension(), 3)
    num_colors = _num_colors(image) if is_natural else 1
    orientation = orientation_of(found.GetDirection()) if dimension == 3 else ""
    num_files = 1 if image.is_dicom else len(image.files)
    spacing = tuple(found.GetSpacing()[:dimension])
    return SurveyedScan(
        dimension=dimension,
        spacing=spacing,
        orientation=orientation,
        num_files=num_files,
        num_colors=num_colors,
        is_natural=is_natural,
        modality=_modality(image) if image.is_dicom else "",
    )


def _modality(image: FoundImage) -> str:
    header = header_of(image.files[0])
    return header.GetMetaData(MODALITY).strip() if header.HasMetaDataKey(MODALITY) else ""


def _num_colors(image: FoundImage) -> int:
    volume = SimpleITK.ReadImage(str(image.files[0]))
    if volume.GetNumberOfComponentsPerPixel() < 3:
        return volume.GetNumberOfComponentsPerPixel()
    colors = SimpleITK.GetArrayViewFromImage(volume)
    return 1 if (colors[..., :3] == colors[..., :1]).all() else colors.shape[-1]


def choose_file_ending(scans: Sequence[SurveyedScan], wanted: str | None) -> str:
    """The ending of the dataset's files: as wanted, else ``.png`` for natural images and ``.nii.gz`` for others.

    Raises:
        UserError: nnU-Net reads no such files, or they hold no volumes.
    """
    dimension = _most_common(scan.dimension for scan in scans)
    natural = tuple(NaturalImage2DIO.supported_file_endings)
    if wanted is None:
        return NATURAL_ENDING if dimension == 2 and all(scan.is_natural for scan in scans) else VOLUME_ENDING
    known = (*SimpleITKIO.supported_file_endings, *natural)
    if wanted not in known:
        raise UserError(f"--file-ending {wanted}: nnU-Net has no such images here. Choose one of {', '.join(known)}.")
    if wanted in natural and dimension == 3:
        raise UserError(f"--file-ending {wanted} holds 2D images, but most scans are 3D. Choose {VOLUME_ENDING}.")
    return wanted


def choose_channels(scans: Sequence[SurveyedScan], file_ending: str, wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Names of the channels: as wanted, else by the colors of natural images, CT of DICOM series of CT, else MRI.

    Raises:
        UserError: the scans have several channels, whose names only the user knows.
    """
    if wanted:
        return tuple(wanted)
    if file_ending in NATURAL_ENDINGS:
        return COLORS.get(_most_common(scan.num_colors for scan in scans), ("grey",))
    num_files = _most_common(scan.num_files for scan in scans)
    if num_files > 1:
        raise UserError(
            f"Most scans have {num_files} channels (files <name>_0000, <name>_0001, ...): name them in this order, "
            "such as --channels T1 T2. If these files are images of their own, give them other names."
        )
    return (CT if _most_common(scan.modality for scan in scans) == CT else DEFAULT_CHANNEL,)


def reference_of(scans: Sequence[SurveyedScan], num_channels: int, file_ending: str) -> Reference:
    """What most of the scans are like, to compare each of them with."""
    dimension = _most_common(scan.dimension for scan in scans)
    alike = [scan for scan in scans if scan.dimension == dimension]
    spacing = np.median([scan.spacing for scan in alike], axis=0)
    orientations = {_most_common(scan.orientation for scan in alike)} - {""}
    return Reference(
        dimension=dimension,
        spacing=tuple(float(width) for width in spacing),
        orientations=frozenset(orientations),
        num_channels=num_channels,
        file_ending=file_ending,
        images="most scans",
    )


def _most_common(values: Iterable[Value]) -> Value:
    """The most common value; among equally common ones the largest, so that it does not depend on their order."""
    counts = Counter(values)
    return max(counts, key=lambda value: (counts[value], value))
