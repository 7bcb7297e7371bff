"""The frames of 4D files (x, y, z, t), also of NIfTI files whose affine ITK refuses."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import SimpleITK

from nnunet_pix2rep.nnunet.data.raw_images import NIFTI_ENDINGS, load_nifti, size_of
from nnunet_pix2rep.nnunet.data.volume_writer import write_image


class Cine:
    """A file of any number of axes, read at once.

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
            self._volume = load_nifti(path)

    def values(self) -> np.ndarray:
        """Shape (T, Z, Y, X), or what the file has of these axes; float32."""
        if isinstance(self._volume, SimpleITK.Image):
            return SimpleITK.GetArrayFromImage(self._volume).astype(np.float32)
        return self._volume.get_fdata(dtype=np.float32).T

    def write_frame(self, frame: int, path: Path) -> None:
        """Writes a frame, counted from 0, as a 3D file with its place in space."""
        if isinstance(self._volume, SimpleITK.Image):
            write_image(self._volume[:, :, :, frame], path)
            return
        values = self._volume.get_fdata(dtype=np.float32)[..., frame]
        image = nibabel.Nifti1Image(values, self._volume.affine)
        image.header.set_zooms(self._volume.header.get_zooms()[:3])
        nibabel.save(image, path)


def values_on_grid(file: Path, other: Path) -> np.ndarray | None:
    """Values of a file that has as many voxels along each axis as another; else, or where it cannot be read, None."""
    try:
        return Cine(file).values() if size_of(file) == size_of(other) else None
    except RuntimeError:
        return None
