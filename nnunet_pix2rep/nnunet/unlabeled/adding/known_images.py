"""Finding copies: images that a dataset has already, whatever their names and files."""

from __future__ import annotations

import hashlib
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.cine import Cine
from nnunet_pix2rep.nnunet.data.dataset_reader import DatasetReader, last_line
from nnunet_pix2rep.nnunet.data.raw_images import number_of_frames


def read_values(files: Sequence[Path], reader: DatasetReader) -> np.ndarray:
    """Values (C, Z, Y, X) of a case as nnU-Net's reader returns them; the frames of a cine (x, y, z, t) stand for C.

    Raises:
        UserError: they cannot be read.
    """
    try:
        return reader.read(files)[0]
    except UserError:
        # nnU-Net's nibabel readers refuse cines, whose frames preprocess_unlabeled hands to them one by one
        if number_of_frames(files[0], len(files), 1) is None:
            raise
    try:
        return Cine(files[0]).values()
    except RuntimeError as error:
        raise UserError(f"it cannot be read ({last_line(error)})") from error


class KnownImages:
    """Images that a dataset has already, to find copies under another name. Files are read where sizes are equal.

    Args:
        cases: Folder -> case -> image files.
        reader: The dataset's reader.
    """

    def __init__(self, cases: Mapping[str, Mapping[str, Sequence[Path]]], reader: DatasetReader):
        self._reader = reader
        self._by_size: dict[int, list[tuple[str, Sequence[Path]]]] = defaultdict(list)
        self._digests: dict[str, str] = {}
        for folder, files_of in cases.items():
            for case, files in files_of.items():
                try:
                    self._by_size[math.prod(reader.geometry(files[0]).shape)].append((f"{folder}/{case}", files))
                except (UserError, IndexError):
                    continue  # not to be read, so not to be compared with

    def find(self, values: np.ndarray) -> str | None:
        """``<folder>/<case>`` of an image with the same values (C, Z, Y, X), or None."""
        candidates = self._by_size.get(math.prod(values.shape[1:]), [])
        wanted = _digest(values) if candidates else ""
        return next((name for name, files in candidates if self._digest_of(name, files) == wanted), None)

    def add(self, name: str, values: np.ndarray) -> None:
        """Remembers an image that has been added."""
        self._by_size[math.prod(values.shape[1:])].append((name, []))
        self._digests[name] = _digest(values)

    def _digest_of(self, name: str, files: Sequence[Path]) -> str:
        if name not in self._digests:
            try:
                self._digests[name] = _digest(read_values(files, self._reader))
            except UserError:  # damaged behind its header
                self._digests[name] = ""
        return self._digests[name]


def _digest(values: np.ndarray) -> str:
    checksum = hashlib.sha256(str(values.shape).encode())
    checksum.update(np.ascontiguousarray(values, dtype=np.float32).tobytes())
    return checksum.hexdigest()
