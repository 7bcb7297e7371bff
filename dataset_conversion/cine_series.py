"""A short-axis cine as a folder of DICOM files: every slice position in every cardiac phase."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from nnunet_pix2rep.dataset_conversion.source_files import read_header
from nnunet_pix2rep.errors import UserError

FILE_NAME = re.compile(r"IM-\d+-(\d+)\.dcm")
SERIES_DESCRIPTION = "0008|103e"
# Positions are stored with rounding errors, and the slices of a stack lie some millimeters apart.
SAME_POSITION_MM = 0.5
SPACING_TOLERANCE = 0.05


@dataclass(frozen=True)
class CineSeries:
    """The files of a cine, ordered.

    Attributes:
        positions: for each slice position, along the normal of the slices, its files in the order of the phases.
        numbers: image number -> (phase, slice position), both from 0.
        spacing: pixel width, pixel height and distance of the slice positions in mm.
    """

    positions: list[list[Path]]
    numbers: dict[int, tuple[int, int]]
    spacing: tuple[float, float, float]

    @property
    def number_of_phases(self) -> int:
        """How many cardiac phases each position has."""
        return len(self.positions[0])

    @property
    def pixel_array_shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        columns, rows = read_header(self.positions[0][0]).GetSize()[:2]
        return rows, columns

    def place(self, number: int) -> tuple[int, int]:
        """Phase and slice position of an image number."""
        return self.numbers[number]

    def stack(self, phase: int, positions: Sequence[int]) -> SimpleITK.Image:
        """The volume of one phase at some adjacent positions.

        Raises:
            UserError: a file is damaged, or of another size than the first.
        """
        slices = []
        for path in (self.positions[position][phase] for position in positions):
            try:
                slices.append(SimpleITK.ReadImage(str(path)))
            except RuntimeError as error:
                raise UserError(f"{path} cannot be read: it may be damaged. Download it again.") from error
            if slices[-1].GetSize() != slices[0].GetSize():
                raise UserError(f"{path} has another size than the first image of its series.")
        volume = SimpleITK.GetImageFromArray(np.concatenate([SimpleITK.GetArrayViewFromImage(x) for x in slices]))
        volume.SetSpacing(self.spacing)
        volume.SetOrigin(slices[0].GetOrigin())
        volume.SetDirection(slices[0].GetDirection())
        return volume


def find_series(folder: Path, numbers: Collection[int]) -> dict[int, Path]:
    """Image number -> file of the short-axis cine that holds all the given image numbers.

    A series is short-axis if its folder or its DICOM description says CINESAX.

    Raises:
        UserError: there is no such series, none holds all the numbers, or several do.
    """
    series = {path: index_files(path) for path in sorted(folder.iterdir()) if path.is_dir()}
    series = {path: files for path, files in series.items() if files and is_short_axis(path, files)}
    if not series:
        raise UserError(f"{folder} holds no short-axis cine CINESAX_*. Unpack its images again.")
    complete = {path: files for path, files in series.items() if files.keys() >= set(numbers)}
    if not complete:
        path, files = max(series.items(), key=lambda item: len(item[1]))
        raise UserError(
            f"{path} has no image IM-*-{min(set(numbers) - files.keys()):04d}.dcm, but there is a contour of it."
        )
    if len(complete) > 1:
        names = ", ".join(path.name for path in complete)
        raise UserError(f"{folder} holds several short-axis cines that fit the contours ({names}): keep one.")
    return next(iter(complete.values()))


def index_files(folder: Path) -> dict[int, Path]:
    """Image number -> file.

    Raises:
        UserError: two files have the same number.
    """
    files: dict[int, Path] = {}
    for path in sorted(folder.glob("*.dcm")):
        match = FILE_NAME.fullmatch(path.name)
        if match is None:
            continue
        if int(match[1]) in files:
            raise UserError(f"{path} and {files[int(match[1])].name} have the same number: remove one of them.")
        files[int(match[1])] = path
    return files


def is_short_axis(folder: Path, files: dict[int, Path]) -> bool:
    """Whether a series is a short-axis cine."""
    if "CINESAX" in folder.name.upper():
        return True
    header = read_header(files[min(files)])
    return header.HasMetaDataKey(SERIES_DESCRIPTION) and "CINESAX" in header.GetMetaData(SERIES_DESCRIPTION).upper()


def read_series(files: dict[int, Path]) -> CineSeries:
    """Orders the files of a series by slice position and phase, from their headers.

    Raises:
        UserError: a file is damaged, the positions have different numbers of phases, or lie unevenly.
    """
    numbers, headers = zip(*((number, read_header(files[number])) for number in sorted(files)), strict=True)
    normal = np.array(headers[0].GetDirection()).reshape(3, 3)[:, 2]
    heights = np.array([normal @ np.array(header.GetOrigin()) for header in headers])
    order = np.argsort(heights)
    starts = np.flatnonzero(np.diff(heights[order]) > SAME_POSITION_MM) + 1
    groups = np.split(order, starts)
    # The images of one position are numbered in the order of the phases.
    ordered = [[numbers[index] for index in sorted(group)] for group in groups]
    steps = np.diff([heights[group].mean() for group in groups])
    check_complete([[files[number] for number in row] for row in ordered], steps)
    width, height, thickness = headers[0].GetSpacing()
    return CineSeries(
        positions=[[files[number] for number in numbers] for numbers in ordered],
        numbers={n: (phase, position) for position, row in enumerate(ordered) for phase, n in enumerate(row)},
        spacing=(width, height, float(steps.mean()) if len(steps) else thickness),
    )


def check_complete(positions: list[list[Path]], steps: np.ndarray) -> None:
    """Raises a UserError unless all positions have equally many phases and lie evenly.

    Args:
        positions: for each slice position its files.
        steps: distances of adjacent positions in mm.
    """
    folder = positions[0][0].parent
    for files in positions:
        if len(files) != len(positions[0]):
            raise UserError(
                f"{folder}: the position of {files[0].name} has {len(files)} phases, that of {positions[0][0].name} "
                f"{len(positions[0])}. Unpack the images again."
            )
    if len(steps) and np.ptp(steps) > SPACING_TOLERANCE * steps.mean():
        wide = positions[int(np.argmax(steps))][0].name
        raise UserError(
            f"{folder}: slices lie {steps.min():.2f} to {steps.max():.2f} mm apart. If one is missing after {wide}, "
            "add it; or remove the contours of this patient."
        )
