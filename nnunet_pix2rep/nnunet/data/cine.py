"""The frames of 4D files (x, y, z, t), also of NIfTI files whose affine ITK refuses."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import SimpleITK

from nnunet_pix2rep.nnunet.data.raw_images import ITK_ENDINGS, header_of

NIFTI_ENDINGS = (".nii", ".nii.gz")


def size_of(path: Path) -> tuple[int, ...]:
    """Number of voxels along each axis of a file, in its own order (x, y, z, t).

    Raises:
        RuntimeError: it cannot be read.
    """
    try:
        return tuple(header_of(path).GetSize())
    except RuntimeError:
        if not path.name.endswith(NIFTI_ENDINGS):
            raise
    try:
        return tuple(nibabel.load(path).shape)
    except (OSError, ValueError, nibabel.filebasedimages.ImageFileError) as error:
        raise RuntimeError(str(error)) from error


def number_of_frames(path: Path, num_files: int, num_channels: int) -> int | None:
    """The number of frames of a 4D file (x, y, z, t); None for an image that nnU-Net's reader takes as it is.

    nnU-Net reads the fourth axis of a file as channels (``SimpleITKIO.read_images``). It is time where a case has a
    file for each of the dataset's channels.

    Args:
        path: One of the case's files.
        num_files: Number of files of the case.
        num_channels: Number of channels of the dataset.
    """
    if num_files != num_channels or not path.name.endswith(ITK_ENDINGS):
        return None
    try:
        size = size_of(path)
    except RuntimeError:
        return None  # nnU-Net's reader will say what is wrong
    return size[3] if len(size) == 4 else None


class Cine:
    """A 4D file, read at once.

    Args:
        path: The file.

    Raises:
        RuntimeError: it cannot be read.
    """

    def __init__(self, path: Path):
        try:
            self._volume: SimpleITK.Image | nibabel.Nifti1Image = SimpleITK.ReadImage(str(path))
        except RuntimeError:
            if not path.name.endswith(NIFTI_ENDINGS):
                raise
            self._volume = nibabel.load(path)

    def values(self) -> np.ndarray:
        """Shape (T, Z, Y, X), float32."""
        if isinstance(self._volume, SimpleITK.Image):
            return SimpleITK.GetArrayFromImage(self._volume).astype(np.float32)
        return self._volume.get_fdata(dtype=np.float32).T

    def write_frame(self, frame: int, path: Path) -> None:
        """Writes a frame, counted from 0, as a 3D file with its place in space."""
        if isinstance(self._volume, SimpleITK.Image):
            SimpleITK.WriteImage(self._volume[:, :, :, frame], str(path))
            return
        values = self._volume.get_fdata(dtype=np.float32)[..., frame]
        image = nibabel.Nifti1Image(values, self._volume.affine)
        image.header.set_zooms(self._volume.header.get_zooms()[:3])
        nibabel.save(image, path)
