"""Preprocessed images of cases, with or without labels.

nnU-Net's dataset classes open image and labels together (nnunetv2 2.8.1, training/dataloading/nnunet_dataset.py,
``nnUNetDatasetBlosc2.load_case`` and ``nnUNetDatasetNumpy.load_case``). Pretraining reads images alone, so that no
label can leak into it and cases without labels can take part.
"""

from __future__ import annotations

import os
import zipfile
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
            UserError: there is no preprocessed image of this case, or it is damaged.
        """
        stem = Path(self.folder) / self.identifier
        for ending, read in (("b2nd", _open_blosc), ("npy", _open_numpy), ("npz", _open_zip)):
            file = Path(f"{stem}.{ending}")
            if file.is_file():
                try:
                    return read(file)
                except (RuntimeError, ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile) as error:
                    raise UserError(
                        f"{file} is damaged ({str(error).strip()}). Run nnUNetv2_preprocess again."
                    ) from error
        raise UserError(
            f"No preprocessed image of case {self.identifier} in {self.folder}. Run nnUNetv2_preprocess again."
        )


def _open_blosc(file: Path) -> Any:
    # As nnUNetDatasetBlosc2: memory mapping does not work on Windows, and one thread for each loader is enough.
    memory_mapping = {} if os.name == "nt" else {"mmap_mode": "r"}
    return blosc2.open(urlpath=str(file), mode="r", dparams={"nthreads": 1}, **memory_mapping)


def _open_numpy(file: Path) -> np.ndarray:
    return np.load(file, mmap_mode="r")


def _open_zip(file: Path) -> np.ndarray:
    with np.load(file) as content:
        return content["data"]


def has_cases(folder: Path) -> bool:
    """Whether a folder of nnU-Net's preprocessed data exists and holds a case."""
    return folder.is_dir() and any(file.suffix in (".b2nd", ".npz") for file in folder.iterdir())


def preprocessed_cases(folder: str) -> list[ImageCase]:
    """All cases in a folder of nnU-Net's preprocessed data, sorted.

    Raises:
        UserError: the folder does not exist or holds no case.
    """
    if not has_cases(Path(folder)):
        raise UserError(
            f"There is no preprocessed data in {folder}. Run nnUNetv2_preprocess for this configuration first."
        )
    return [ImageCase(identifier, folder) for identifier in sorted(infer_dataset_class(folder).get_identifiers(folder))]
