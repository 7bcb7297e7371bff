"""Copies of scans for a work folder, and whether files are still what they were."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from nnunet_pix2rep.files import checksum
from nnunet_pix2rep.nnunet.data.cine import Cine
from nnunet_pix2rep.nnunet.data.dataset_reader import sidecar_of


def copy_images(case: str, files: Sequence[Path], frame: int | None, file_ending: str, folder: Path) -> list[Path]:
    """Copies the files of a scan under the case's name; a frame of a 4D file becomes a file of its own.

    Args:
        case: The case.
        files: Its raw files, one per channel.
        frame: Which frame of 4D files it is, counted from 1; None: the files are the image.
        file_ending: Of the dataset.
        folder: Gets the copies.

    Raises:
        RuntimeError: a 4D file cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{case}_{channel:04d}{file_ending}" for channel in range(len(files))]
    for source, target in zip(files, targets, strict=True):
        if frame is None:
            shutil.copyfile(source, target)
        else:
            Cine(source).write_frame(frame - 1, target)
    spacing = sidecar_of(files[0])
    if file_ending.startswith(".tif") and spacing.is_file():  # of 3D TIFF, as nnU-Net's Tiff3DIO wants it
        shutil.copyfile(spacing, folder / f"{case}.json")
    return targets


def changed_files(files: Iterable[Path], checksums: Mapping[str, str]) -> list[Path]:
    """Those of the files that have another checksum than the recorded one; files without a record count as unchanged.

    Args:
        files: The files.
        checksums: Name of a file -> its checksum.
    """
    return [file for file in files if file.name in checksums and checksum(file) != checksums[file.name]]
