"""Label files in the geometry of the raw images, by the reader and writer that nnU-Net uses for the dataset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from nnunetv2.imageio.reader_writer_registry import (
    determine_reader_writer_from_dataset_json,
    recursive_find_reader_writer_by_name,
)

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.dataset_reader import NO_SPACING
from nnunet_pix2rep.nnunet.data.raw_images import check_complete
from nnunet_pix2rep.nnunet.data.volume_writer import require_whole

SCRATCH_PREFIX = ".writing_"


@dataclass(frozen=True)
class LabelVolume:
    """The labels of a case.

    Attributes:
        labels: Shape (Z, Y, X), int64.
        properties: Its geometry as nnU-Net's reader gives it, ``spacing`` (z, y, x) among it.
    """

    labels: np.ndarray
    properties: dict[str, Any]


@dataclass(frozen=True)
class ImageGeometry:
    """The grid of an image.

    Attributes:
        shape: (Z, Y, X).
        properties: As nnU-Net's reader gives it, ``spacing`` (z, y, x) among it.
    """

    shape: tuple[int, int, int]
    properties: dict[str, Any]

    @property
    def spacing(self) -> tuple[float, ...]:
        """(z, y, x) in mm."""
        return tuple(float(length) for length in self.properties["spacing"])

    @property
    def is_2d(self) -> bool:
        """Whether it is a 2D image: nnU-Net's readers give it a first axis of one voxel, without a real size."""
        first, *others = self.spacing
        return self.shape[0] == 1 and first >= NO_SPACING * max(others)


def ignore_label_of(dataset_json: Mapping[str, Any]) -> int | None:
    """The value of nnU-Net's ignore label, None where the dataset has none."""
    return dataset_json["labels"].get("ignore")


def require_ignore_label(dataset_json: Mapping[str, Any], source: Path) -> int:
    """The value of nnU-Net's ignore label.

    Raises:
        UserError: the dataset has none.
    """
    value = ignore_label_of(dataset_json)
    if value is None:
        highest = max(np.ravel(list(np.hstack(list(dataset_json["labels"].values())))).tolist())
        raise UserError(
            f'{source} has no "ignore" among its labels, so a scan cannot be annotated in part. Add '
            f'"ignore": {int(highest) + 1} to its labels (nnU-Net\'s documentation/ignore_label.md).'
        )
    return value


class LabelFiles:
    """Reads and writes the label files of one dataset.

    Args:
        dataset_json: Content of its ``dataset.json``.
        reader_name: Name of nnU-Net's reader in the plans (``image_reader_writer``); None: nnU-Net's choice for the
            file ending.
    """

    def __init__(self, dataset_json: Mapping[str, Any], reader_name: str | None = None):
        self.file_ending: str = dataset_json["file_ending"]
        self.ignore_label = ignore_label_of(dataset_json)
        if reader_name is None:
            self.reader = determine_reader_writer_from_dataset_json(dict(dataset_json), verbose=False)()
        else:
            self.reader = recursive_find_reader_writer_by_name(reader_name)()

    def require_ignore_label(self) -> int:
        """The ignore label of a dataset that was found to have one.

        Raises:
            ValueError: it has none.
        """
        if self.ignore_label is None:
            raise ValueError("this dataset has no ignore label")
        return self.ignore_label

    def geometry(self, image_files: Sequence[Path]) -> ImageGeometry:
        """The grid of an image, given by its files, a file per channel.

        Raises:
            UserError: a file is damaged or cannot be read.
        """
        image, properties = self.read_image(image_files)
        depth, height, width = (int(length) for length in image.shape[1:])
        return ImageGeometry((depth, height, width), properties)

    def read_image(self, image_files: Sequence[Path]) -> tuple[np.ndarray, dict[str, Any]]:
        """The voxels of an image (C, Z, Y, X), float32, and its geometry.

        Raises:
            UserError: a file is damaged or cannot be read.
        """
        return self._read(image_files, lambda: self.reader.read_images([str(file) for file in image_files]))

    def read(self, file: Path) -> LabelVolume:
        """Reads a label file.

        Raises:
            UserError: the file is missing, damaged, cannot be read, or has values that are no integers.
        """
        if not file.is_file():
            raise UserError(f"{file} does not exist.")
        labels, properties = self._read([file], lambda: self.reader.read_seg(str(file)))
        whole = np.rint(labels[0])
        if not np.array_equal(whole, labels[0]):
            raise UserError(f"{file} has values that are no integers. Save it as labels, without interpolation.")
        return LabelVolume(whole.astype(np.int64), properties)

    def write(self, labels: np.ndarray, file: Path, properties: Mapping[str, Any]) -> None:
        """Writes labels (Z, Y, X) on the grid that ``properties`` describe; the file is whole or not there at all.

        A writer may leave a second file beside it (nnU-Net's for 3D TIFF: the spacing), which is in place first.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=file.parent, prefix=SCRATCH_PREFIX) as scratch:
            self.reader.write_seg(labels, str(Path(scratch) / file.name), dict(properties))
            for written in sorted(Path(scratch).iterdir(), key=lambda path: path.name == file.name):
                require_whole(written, file.parent / written.name)
                written.replace(file.parent / written.name)

    @staticmethod
    def _read(files: Sequence[Path], read: Any) -> Any:
        try:
            for file in files:
                check_complete(file)
            return read()
        except UserError as error:
            raise UserError(f"{file}: {error}.") from error
        except (RuntimeError, OSError, ValueError, AssertionError) as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            reason = lines[-1] if lines else "channels of different size or spacing"
            raise UserError(f"{files[0]} cannot be read: {reason}.") from error


def labels_to_draw_in(
    shape: Sequence[int], axis: int, indices: Iterable[int], ignore_label: int, existing: np.ndarray | None = None
) -> np.ndarray:
    """Labels that are to be ignored everywhere but in the chosen slices, which are background.

    Args:
        shape: (Z, Y, X).
        axis: Slices are counted along this one of them.
        indices: The chosen slices.
        ignore_label: nnU-Net's.
        existing: Labels of the case, same shape: every voxel that is annotated there is kept.

    Returns:
        Shape (Z, Y, X), int64.
    """
    labels = np.full(tuple(shape), ignore_label, dtype=np.int64) if existing is None else existing.astype(np.int64)
    chosen = np.zeros(shape[axis], dtype=bool)
    chosen[list(indices)] = True
    inside = np.expand_dims(chosen, [other for other in range(len(shape)) if other != axis])
    return np.where(inside & (labels == ignore_label), 0, labels)
