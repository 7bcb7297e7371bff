"""Slices, the unit of annotation: along which axis they lie, and which of a label array are annotated."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_pix2rep.errors import UserError

AXIS_NAMES = ("z", "y", "x")

SliceDigests = dict[str, str]
"""Slice, as text since JSON has no other keys -> SHA-256 of its labels."""


@dataclass(frozen=True, order=True)
class Slice:
    """A slice of a case.

    Attributes:
        case: nnU-Net's case identifier.
        index: Place along the case's slice axis in the array that nnU-Net's reader makes of the raw image, from 0.
    """

    case: str
    index: int


def slice_axis(
    patch_size: Sequence[int], transpose_forward: Sequence[int], spacing: Sequence[float], wanted: int | None = None
) -> int:
    """The axis that slices are counted along, in the array (z, y, x) that nnU-Net's reader makes of a raw image.

    Args:
        patch_size: Of the configuration; two numbers: 2D.
        transpose_forward: Of the plans.
        spacing: Of the image as the reader gives it (z, y, x), in mm.
        wanted: The axis that the user asks for.

    Returns:
        In 2D the axis that the plans slice along. In 3D the wanted one, without it that of the largest spacing, of
        several the first.

    Raises:
        UserError: another axis is wanted than a 2D configuration slices along.
    """
    if len(patch_size) == 2:
        planned = int(transpose_forward[0])
        if wanted not in (None, planned):
            raise UserError(
                f"--axis {AXIS_NAMES[wanted]} is not the axis that this 2D configuration slices along, which is "
                f"{AXIS_NAMES[planned]}. Leave out --axis."
            )
        return planned
    return int(np.argmax(spacing)) if wanted is None else wanted


def slice_digests(labels: np.ndarray, axis: int, indices: Iterable[int]) -> SliceDigests:
    """Digests of some slices, which tell later whether their labels were changed.

    Args:
        labels: Shape (Z, Y, X), of any integer type.
        axis: Which of its axes slices are counted along.
        indices: The slices.
    """
    planes = np.moveaxis(labels, axis, 0)
    return {str(index): hashlib.sha256(planes[index].astype(np.int16).tobytes()).hexdigest() for index in indices}


def relative_positions(patients: Sequence[str], slices: Sequence[Slice], counts: Sequence[int]) -> list[float]:
    """Where the middle of each slice lies in its scan, 0 to 1.

    Scans of a single slice, such as PNG images, are mostly slices of a volume. Each has its place among those of its
    patient, in the order of their names, in which ``scan_9`` comes before ``scan_10``.

    Args:
        patients: Patient of each slice.
        slices: The slices.
        counts: Number of slices of each slice's scan.
    """
    images_of: dict[str, list[str]] = {}
    for patient, one, count in zip(patients, slices, counts, strict=True):
        if count == 1:
            images_of.setdefault(patient, []).append(one.case)
    place = {
        case: (number + 0.5) / len(cases)
        for cases in images_of.values()
        for number, case in enumerate(sorted(cases, key=_by_numbers))
    }
    return [
        place[one.case] if count == 1 else (one.index + 0.5) / count for one, count in zip(slices, counts, strict=True)
    ]


def _by_numbers(name: str) -> list[str | int]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", name)]
