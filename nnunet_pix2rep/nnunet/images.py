"""Preprocessed images of cases, with or without labels.

nnU-Net's dataset classes open image and labels together (nnunetv2 2.8.1, training/dataloading/nnunet_dataset.py,
``nnUNetDatasetBlosc2.load_case`` and ``nnUNetDatasetNumpy.load_case``). Pretraining reads images alone, so that no
label can leak into it and cases without labels can take part.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class

from nnunet_pix2rep.errors import UserError


@dataclass(frozen=True)
class ImageCase:
    """One preprocessed image.

    Attributes:
        identifier: nnU-Net's case identifier.
        folder: Folder with the preprocessed files.
    """

    identifier: str
    folder: str

    def open(self) -> Any:
        """Opens the image for reading; an array-like of shape (C, Z, Y, X), float32, that is read where it is indexed.

        Raises:
            UserError: there is no preprocessed image of this case.
        """
        stem = Path(self.folder) / self.identifier
        blosc_file, numpy_file, zip_file = (Path(f"{stem}{ending}") for ending in (".b2nd", ".npy", ".npz"))
        if blosc_file.is_file():
            # as nnUNetDatasetBlosc2 does: memory mapping does not work on Windows, and a thread a loader is enough
            memory_mapping = {} if os.name == "nt" else {"mmap_mode": "r"}
            return blosc2.open(urlpath=str(blosc_file), mode="r", dparams={"nthreads": 1}, **memory_mapping)
        if numpy_file.is_file():
            return np.load(numpy_file, mmap_mode="r")
        if zip_file.is_file():
            return np.load(zip_file)["data"]
        raise UserError(
            f"No preprocessed image of case {self.identifier} in {self.folder}. Run nnUNetv2_preprocess again."
        )


def preprocessed_cases(folder: str) -> list[ImageCase]:
    """All cases in a folder of nnU-Net's preprocessed data, sorted.

    Raises:
        UserError: the folder does not exist or holds no case.
    """
    if not Path(folder).is_dir() or not any(Path(folder).iterdir()):
        raise UserError(
            f"There is no preprocessed data in {folder}. Run nnUNetv2_preprocess for this configuration first."
        )
    return [ImageCase(identifier, folder) for identifier in sorted(infer_dataset_class(folder).get_identifiers(folder))]
