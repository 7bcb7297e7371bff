"""Where the slices and voxels of a raw image lie in its preprocessed image.

Read against nnunetv2 2.8.1, preprocessing/preprocessors/default_preprocessor.py, ``run_case_npy``: the axes are
transposed, the image is cropped to its nonzero box and then resampled, so that the outer edges of both grids fall
together.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase

Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class ScanGrid:
    """The raw and the preprocessed grid of a scan.

    Attributes:
        shape: Of the raw image as nnU-Net's reader gives it, (Z, Y, X).
        spacing: The same order, mm.
        transpose_forward: Of the plans: the preprocessed axis n is the raw axis ``transpose_forward[n]``.
        box: First voxel and end of the crop along each preprocessed axis, before resampling.
        preprocessed_shape: (Z, Y, X) of the preprocessed image.
    """

    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    transpose_forward: tuple[int, ...]
    box: tuple[tuple[int, int], ...]
    preprocessed_shape: tuple[int, ...]

    @classmethod
    def of_properties(
        cls, properties: Mapping[str, Any], transpose_forward: Sequence[int], preprocessed_shape: Sequence[int]
    ) -> ScanGrid:
        """The grid that nnU-Net's properties of a preprocessed image describe."""
        before = properties["shape_before_cropping"]
        forward = [int(axis) for axis in transpose_forward]
        return cls(
            shape=_three(int(before[forward.index(axis)]) for axis in range(3)),
            spacing=_three(float(length) for length in properties["spacing"]),
            transpose_forward=_three(forward),
            box=tuple((int(first), int(end)) for first, end in properties["bbox_used_for_cropping"]),
            preprocessed_shape=_three(int(length) for length in preprocessed_shape),
        )

    def filled_slices(self, axis: int) -> range:
        """The raw slices along a raw axis that are not cropped as empty margin."""
        return range(*self.box[self.transpose_forward.index(axis)])

    def planes(self, axis: int, index: int) -> tuple[int, np.ndarray]:
        """Which planes of the preprocessed image show a raw slice.

        Args:
            axis: The raw axis.
            index: One of :meth:`filled_slices`.

        Returns:
            The preprocessed axis, and the places along it whose middle lies in the slice; where slices were merged and
            none does, the place that the middle of the slice lies in.
        """
        along = self.transpose_forward.index(axis)
        first, end = self.box[along]
        length = self.preprocessed_shape[along]
        ratio = length / (end - first)
        places = np.arange(length)
        inside = places[np.floor((places + 0.5) / ratio) == index - first]
        if len(inside) == 0:
            inside = np.array([min(int((index - first + 0.5) * ratio), length - 1)])
        return along, inside

    def preprocessed_voxels(self, raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The preprocessed voxels that the middles of raw voxels lie in.

        Args:
            raw: Indices (N, 3) into (z, y, x).

        Returns:
            Indices (N, 3), and which of them are not cropped (N,), bool.
        """
        box = np.array(self.box)
        index = raw[:, list(self.transpose_forward)]
        inside = np.all((index >= box[:, 0]) & (index < box[:, 1]), axis=1)
        ratio = np.array(self.preprocessed_shape) / (box[:, 1] - box[:, 0])
        voxels = np.floor((index - box[:, 0] + 0.5) * ratio).astype(np.int64)
        return np.clip(voxels, 0, np.array(self.preprocessed_shape) - 1), inside


def _three(values: Iterable[Number]) -> tuple[Number, Number, Number]:
    first, second, third = values
    return first, second, third


def read_grid(image: ImageCase, transpose_forward: Sequence[int]) -> ScanGrid:
    """The grid of a preprocessed image, from what nnU-Net stored beside it.

    Raises:
        UserError: the image or its properties are missing or damaged.
    """
    shape = image.open().shape[1:]
    path = Path(image.folder) / f"{image.identifier}.pkl"
    try:
        properties = pickle.loads(path.read_bytes())
        return ScanGrid.of_properties(properties, transpose_forward, shape)
    except (OSError, EOFError, pickle.UnpicklingError, KeyError) as error:
        raise UserError(f"{path} is missing or damaged ({error}). Run nnUNetv2_preprocess again.") from error
