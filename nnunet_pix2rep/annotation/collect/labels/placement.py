"""Where the voxels of a label file lie beside those of its image: NIfTI has two transforms, and programs choose."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import nibabel
import numpy as np

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_images import GRID_TOLERANCE, NIFTI_ENDINGS, Grid, header_of, load_nifti

TWO_PLACES = (
    "all slices: taken voxel by voxel, in the order of the file. The two transforms (qform and sform) of file or image "
    "differ, so that 3D Slicer and ITK-SNAP show them in different places, nibabel and FSLeyes in the same. What was "
    "drawn where they lay apart is in the wrong place: look at it"
)


@dataclass(frozen=True)
class Places:
    """Where the voxels of a file lie, each as (4, 4) from voxel (x, y, z) to mm in NIfTI's axes.

    Attributes:
        by_itk: As ITK reads it; None: it has not three axes, or ITK does not read it.
        by_nibabel: As nibabel reads it; None: it has not three axes, or is no NIfTI file that nibabel reads.
        size: Number of voxels (x, y, z); empty where neither reads it.
    """

    by_itk: np.ndarray | None
    by_nibabel: np.ndarray | None
    size: tuple[int, ...]

    @property
    def differ(self) -> bool:
        """Whether ITK and nibabel read the file, and in different places."""
        both = self.by_itk is not None and self.by_nibabel is not None
        return both and not same_place(self.by_itk, self.by_nibabel, self.size)


@dataclass(frozen=True)
class Placement:
    """How a label file lies beside its image.

    Attributes:
        as_stored: Whether its voxels are known to be in the order of those of the image.
        nibabel_reads: Whether nibabel reads its voxels.
        notes: What the user should know.
    """

    as_stored: bool = False
    nibabel_reads: bool = False
    notes: list[str] = field(default_factory=list)


def compare_places(label_file: Path, image_file: Path, by_nibabel: bool) -> Placement:
    """Compares the headers of a label file and its image.

    Each of two transforms that differ is the right one for some program. So the voxels of a file that lies in any of
    the places of the image, without any turn, are those of the image one by one, and no turn is tried.

    Args:
        label_file: In any format that ITK or nibabel reads.
        image_file: The image.
        by_nibabel: Whether nnU-Net's reader is one of those that read NIfTI by nibabel.

    Raises:
        UserError: the image has two places, and the file lies in neither of them. The message does not name the file.
    """
    label, image = _places_of(label_file), _places_of(image_file)
    size = image.size if label.size == image.size else ()
    if not (by_nibabel and same_place(label.by_nibabel, image.by_nibabel, size)):
        if not image.differ:
            return Placement()
        pairs = itertools.product((label.by_itk, label.by_nibabel), (image.by_itk, image.by_nibabel))
        if not any(same_place(one, other, size) for one, other in pairs):
            raise UserError(
                "its geometry does not fit its image, whose header programs read in two ways, since NIfTI's two "
                "transforms (qform and sform) differ: save it with the size and geometry of the image and its voxels "
                "in the same order"
            )
    known_to_itk = label.by_itk is not None and image.by_itk is not None
    apart = known_to_itk and not same_place(label.by_itk, image.by_itk, size)
    return Placement(True, label.by_nibabel is not None, [TWO_PLACES] if apart else [])


def same_place(first: np.ndarray | None, second: np.ndarray | None, size: Sequence[int]) -> bool:
    """Whether the corner voxels of two grids of this size lie in the same places; nothing is known of an empty size."""
    if first is None or second is None or not size:
        return False
    corners = np.array([(*corner, 1) for corner in itertools.product(*((0, length - 1) for length in size))])
    far = np.linalg.norm((corners @ (first - second).T)[:, :3], axis=1).max()
    spacing = np.linalg.norm(second[:3, :3], axis=0).min()
    return bool(far <= GRID_TOLERANCE * spacing)


def _places_of(file: Path) -> Places:
    by_itk, by_nibabel, size = None, None, ()
    try:
        header = header_of(file)
    except RuntimeError:
        pass  # as with a sheared NIfTI file; who needs ITK for it says why it cannot be read
    else:
        if header.GetDimension() == 3:
            by_itk, size = _affine_of(header), tuple(header.GetSize())
    if file.name.endswith(NIFTI_ENDINGS):
        try:
            image = load_nifti(file)
        except (OSError, EOFError, ValueError, zlib.error, nibabel.filebasedimages.ImageFileError):
            return Places(by_itk, None, size)
        if image.ndim == 3 and image.dataobj.dtype.kind in "iuf":  # others are colors
            by_nibabel, size = image.affine, tuple(image.shape)
    return Places(by_itk, by_nibabel, size)


def _affine_of(grid: Grid) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(grid.GetDirection(), (3, 3)) * grid.GetSpacing()
    affine[:3, 3] = grid.GetOrigin()
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # ITK's x and y point to the other side
