"""Images and segmentations in their original geometry, by the reader that nnU-Net would choose for the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases


class VolumeReader:
    """Reads cases of one dataset.

    Args:
        dataset_json: Content of the dataset's ``dataset.json``.
    """

    def __init__(self, dataset_json: Mapping[str, Any]):
        self.file_ending = dataset_json["file_ending"]
        self._reader = determine_reader_writer_from_dataset_json(dict(dataset_json), verbose=False)()

    def image(self, folder: Path, case: str) -> tuple[np.ndarray, tuple[float, ...]]:
        """The first channel of a case, shape (Z, Y, X), and its spacing in mm; 2D images have one slice.

        Raises:
            UserError: there is no image of the case, or it cannot be read.
        """
        files = list_raw_cases(folder, self.file_ending).get(case)
        if files is None:
            raise UserError(f"{folder} has no image {case}_0000{self.file_ending}.")
        volume, properties = self._read(files[0], lambda file: self._reader.read_images((file,)))
        return volume[0], tuple(float(length) for length in properties["spacing"])

    def segmentation(self, folder: Path, case: str) -> np.ndarray:
        """The labels of a case, shape (Z, Y, X).

        Raises:
            UserError: there is no segmentation of the case, or it cannot be read.
        """
        file = folder / f"{case}{self.file_ending}"
        if not file.is_file():
            raise UserError(f"{file} does not exist.")
        return self._read(file, self._reader.read_seg)[0][0]

    @staticmethod
    def _read(file: Path, read: Any) -> tuple[np.ndarray, dict[str, Any]]:
        try:
            return read(str(file))
        except (RuntimeError, OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read: {str(error).strip()}") from error
