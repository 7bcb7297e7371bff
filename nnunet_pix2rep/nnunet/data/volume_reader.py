"""Images and segmentations in their original geometry, by the reader that nnU-Net would choose for the dataset."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.dataset_reader import DatasetReader
from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases


class VolumeReader:
    """Reads cases of one dataset.

    Args:
        dataset_json: Content of the dataset's ``dataset.json``.
    """

    def __init__(self, dataset_json: Mapping[str, Any]):
        self.file_ending = dataset_json["file_ending"]
        self._dataset_json = dataset_json
        self._reader: DatasetReader | None = None

    def image(self, folder: Path, case: str) -> tuple[np.ndarray, tuple[float, ...]]:
        """The first channel of a case, shape (Z, Y, X), and its spacing in mm; 2D images have one slice.

        Raises:
            UserError: there is no image of the case, or it cannot be read.
        """
        files = list_raw_cases(folder, self.file_ending).get(case)
        if files is None:
            raise UserError(f"{folder} has no image {case}_0000{self.file_ending}.")
        volume, properties = self._read(files[0])
        return volume[0], tuple(float(length) for length in properties["spacing"])

    def segmentation(self, folder: Path, case: str) -> np.ndarray:
        """The labels of a case, shape (Z, Y, X).

        Raises:
            UserError: there is no segmentation of the case, or it cannot be read.
        """
        file = folder / f"{case}{self.file_ending}"
        if not file.is_file():
            raise UserError(f"{file} does not exist.")
        return self._read(file, labels=True)[0][0]

    def _read(self, file: Path, labels: bool = False) -> tuple[np.ndarray, dict[str, Any]]:
        if self._reader is None:
            self._reader = DatasetReader(self._dataset_json, file)
        try:
            return self._reader.read_labels(file) if labels else self._reader.read([file])
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
