"""How viewers count slices, and which way up they show them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK

from nnunet_pix2rep.annotation.label_files import ImageGeometry, LabelFiles
from nnunet_pix2rep.annotation.slices import AXIS_NAMES
from nnunet_pix2rep.nnunet.data.raw_images import ITK_ENDINGS


@dataclass(frozen=True)
class ViewerPlace:
    """Where a viewer finds a slice.

    Attributes:
        axis: Axis of the voxels in the file: ``x``, ``y`` or ``z``.
        index: Place along it, from 0, as 3D Slicer counts; ITK-SNAP counts from 1.
    """

    axis: str
    index: int


def viewer_places(label_files: LabelFiles, geometry: ImageGeometry, axis: int) -> list[ViewerPlace | None]:
    """Where viewers find the slices of an image along an axis of nnU-Net's array, in the order of the array.

    None stands for a 2D image, which is its only slice and lies across no axis of the file.

    Most of nnU-Net's readers keep the order of the voxels in the file. Those that reorient images do not, so slices
    that bear their number are written by the dataset's own writer, and read without it.
    """
    if geometry.is_2d:
        return [None]
    if not label_files.file_ending.endswith(ITK_ENDINGS) or "Reorient" not in type(label_files.reader).__name__:
        return [ViewerPlace(AXIS_NAMES[axis], index) for index in range(geometry.shape[axis])]
    shape = [1, 1, 1]
    shape[axis] = -1
    numbered = np.broadcast_to(np.arange(geometry.shape[axis]).reshape(shape), geometry.shape)
    with TemporaryDirectory() as scratch:
        file = Path(scratch) / f"numbers{label_files.file_ending}"
        label_files.write(np.ascontiguousarray(numbered), file, geometry.properties)
        found = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
    lines = [np.moveaxis(found, along, 0)[:, 0, 0] for along in range(3)]
    along = int(np.argmax([len(np.unique(line)) for line in lines]))
    order = np.argsort(lines[along], kind="stable")
    return [ViewerPlace(AXIS_NAMES[along], int(place)) for place in order]


def upright(plane: np.ndarray, axis: int, properties: Mapping[str, Any]) -> np.ndarray:
    """Turns a slice (rows, columns) so that it is shown as radiologists are used to, where its directions are known.

    Left of the patient is right in the picture, the front or the head is up.
    """
    direction = properties.get("sitk_stuff", {}).get("direction")
    if direction is None or len(direction) != 9:
        return plane
    columns = np.asarray(direction).reshape(3, 3)  # of the file's axes x, y, z towards left, back, head
    for place, array_axis in enumerate(other for other in range(3) if other != axis):
        towards = columns[:, 2 - array_axis]
        main = int(np.abs(towards).argmax())
        is_reversed = towards[main] < 0
        if (not is_reversed) if main == 2 else is_reversed:
            plane = np.flip(plane, place)
    return plane
