"""Writing volumes, each whole or not at all."""

from __future__ import annotations

import errno
import filecmp
import os
import shutil
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import SimpleITK

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path
from nnunet_pix2rep.nnunet.data.raw_images import NIFTI_ENDINGS, check_complete, has_all_voxels

FILE_ENDING = ".nii.gz"

VolumeSource = Path | Callable[[], SimpleITK.Image]
"""A ``.nii.gz`` file to be copied as it is, or a function that makes the volume when its turn to be written comes."""


def write_image(image: SimpleITK.Image, path: Path, final: Path | None = None, compress: bool = False) -> None:
    """Writes an image with ITK, whole.

    Args:
        image: What to write.
        path: The file; ITK knows the format by its ending.
        final: The file to name in an error, where ``path`` is a temporary one.
        compress: Whether the voxels are compressed in formats that leave the choice.

    Raises:
        OSError: the disk is full.
        RuntimeError: ITK cannot write this image in this format.
    """
    SimpleITK.WriteImage(image, str(path), useCompression=compress)
    require_whole(path, final)


def require_whole(path: Path, final: Path | None = None) -> None:
    """Raises an OSError where a file that a library has just written lacks an end, since the disk is full.

    ITK, and so nnU-Net's reader, reports no full disk for NIfTI files (``nifti_image_write`` of the NIfTI library): the
    file ends early, and is read later as if zeros followed.

    Args:
        path: The file.
        final: The file to name in the error, where ``path`` is a temporary one.
    """
    try:
        with path.open("rb+") as file:
            os.fsync(file.fileno())  # a disk in the network may report only here that it is full
        if not path.name.endswith(NIFTI_ENDINGS) or has_all_voxels(path):
            return
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(final or path)) from error
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(final or path))


def require_complete(path: Path) -> None:
    """Raises a UserError, with the file's name, where a NIfTI file is truncated or damaged; each is read once."""
    _check_once(path, path.stat().st_mtime_ns)


@cache
def _check_once(path: Path, _modified_ns: int) -> None:
    try:
        check_complete(path)
    except UserError as error:
        raise UserError(f"{path}: {error}. If it was downloaded, do that again.") from error


def write_volume(source: VolumeSource, path: Path) -> None:
    """Writes one volume atomically; one that is there already, or a link to it, stays.

    Raises:
        UserError: a file is there which is not the same volume, or the disk is full.
    """
    volume = source if isinstance(source, Path) else source()
    if not path.exists():
        with atomic_path(path) as temporary:
            _write(volume, temporary, path)
        return
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / path.name
        _write(volume, wanted, path)
        if not same_volume(wanted, path):
            raise UserError(
                f"{path} exists and differs from what this conversion would write: it was changed, or comes from other "
                "source data. Move it away, or convert into another raw folder with -o."
            )


def _write(volume: Path | SimpleITK.Image, target: Path, final: Path) -> None:
    if isinstance(volume, Path):
        shutil.copyfile(volume, target)
        return
    try:
        write_image(volume, target, final, compress=True)
    except RuntimeError as error:
        raise UserError(f"{final} cannot be written. Is there free space? {error}") from error


def same_volume(first: Path, second: Path) -> bool:
    """Whether two files hold the same voxels, type and geometry; the compression may differ."""
    if filecmp.cmp(first, second, shallow=False):
        return True
    a, b = SimpleITK.ReadImage(str(first)), SimpleITK.ReadImage(str(second))
    if a.GetSize() != b.GetSize() or a.GetPixelID() != b.GetPixelID():
        return False
    one, other = (np.concatenate([x.GetSpacing(), x.GetOrigin(), x.GetDirection()]) for x in (a, b))
    return np.allclose(one, other) and np.array_equal(
        SimpleITK.GetArrayViewFromImage(a), SimpleITK.GetArrayViewFromImage(b)
    )
