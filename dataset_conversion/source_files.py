"""Finding and reading the source files of a conversion, with errors that name the file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import SimpleITK

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_csv_rows
from nnunet_pix2rep.nnunet.data.raw_images import GRID_TOLERANCE, distance_between, frames_in, header_of
from nnunet_pix2rep.nnunet.data.volume_writer import require_complete

NIFTI_ENDINGS = (".nii.gz", ".nii")

# The label order of nnU-Net's own Dataset027_ACDC. The M&Ms and M&Ms-2 conversions follow it, so that a model of one of
# the three datasets can be evaluated on the others.
CARDIAC_LABELS = {"background": 0, "RV": 1, "MLV": 2, "LVC": 3}
FROM_MNMS = {0: 0, 1: 3, 2: 2, 3: 1}
"""Label of M&Ms and M&Ms-2 (1 LV cavity, 2 LV myocardium, 3 RV cavity) -> label of CARDIAC_LABELS."""


def require_folder(folder: Path, contents: str) -> Path:
    """Returns ``folder`` if it exists.

    Raises:
        UserError: it does not; the message says that it should hold ``contents``.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder: expected {contents} there. Check the folder given with -i.")
    return folder


def find_root(source: Path, archive_folder: str, contents: str) -> Path:
    """The folder that holds ``contents``: ``source`` itself, or the folder of the unpacked archive in it.

    Raises:
        UserError: neither holds it.
    """
    for folder in (source, source / archive_folder):
        if (folder / contents).exists():
            return folder
    raise UserError(
        f"{source} holds neither {contents} nor {archive_folder}/{contents}: check the folder given with -i."
    )


def find_volume(folder: Path, stem: str) -> Path | None:
    """The NIfTI file ``<stem>.nii.gz`` or ``<stem>.nii`` of a folder, or None.

    Some mirrors unpacked every file into a folder of its own name, ``<stem>.nii/<any name>.nii``.

    Raises:
        UserError: such a folder holds no NIfTI file, or several.
    """
    for ending in NIFTI_ENDINGS:
        path = folder / f"{stem}{ending}"
        if path.is_file():
            return path
        if path.is_dir():
            files = [file for file in path.iterdir() if file.name.endswith(NIFTI_ENDINGS) and file.name[0] != "."]
            if len(files) != 1:
                raise UserError(f"The folder {path} must hold exactly one NIfTI file, but holds {len(files)}.")
            return files[0]
    return None


def require_volume(folder: Path, stem: str) -> Path:
    """As :func:`find_volume`.

    Raises:
        UserError: there is no such file.
    """
    path = find_volume(folder, stem)
    if path is None:
        raise UserError(f"{folder / stem}.nii.gz does not exist (nor does .nii). Complete the download.")
    return path


def check_labels_have_images(folder: Path) -> None:
    """Raises a UserError if a label file ``<stem>_gt.nii.gz`` of the folder has no image ``<stem>.nii.gz``."""
    for label in sorted(folder.glob("*_gt.nii*")):
        stem = label.name.partition("_gt.nii")[0]
        if find_volume(folder, stem) is None:
            raise UserError(f"{label} has no image {stem}.nii.gz beside it: add the image, or remove the label.")


def read_header(path: Path) -> SimpleITK.ImageFileReader:
    """Reads size, spacing, origin and direction of an image without its voxels.

    Raises:
        UserError: the file is missing, not an image, or damaged: ITK would read zeros for what is missing.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist.")
    try:
        header = header_of(path)
    except RuntimeError as error:
        raise unreadable(path, error) from error
    require_complete(path)
    return header


def unreadable(path: Path, error: RuntimeError) -> UserError:
    """The error for a file that ITK cannot read, with ITK's reason, the last line of its message."""
    reason = str(error).strip().splitlines()[-1]
    return UserError(f"{path} cannot be read as an image ({reason}). If it is damaged, download it again.")


def check_same_size(image: Path, label: Path) -> None:
    """Raises a UserError unless image and label exist and have the same number of voxels along every axis."""
    sizes = [read_header(path).GetSize() for path in (image, label)]
    if sizes[0] != sizes[1]:
        raise UserError(f"{label} has {sizes[1]} voxels, but its image {image} has {sizes[0]}.")


def check_same_grid(image: Path, label: Path) -> None:
    """Raises a UserError unless image and label exist and have the same voxels in the same place.

    For labels that keep their own header; those of :func:`read_label` get that of the image.
    """
    check_same_size(image, label)
    first, second = read_header(image), read_header(label)
    apart = distance_between(second, first)
    if apart > GRID_TOLERANCE * min(first.GetSpacing()):
        raise UserError(
            f"{label} lies up to {apart:.2f} mm beside its image {image} by their headers (spacing, origin or "
            "direction). Download both again, or correct the one that is wrong."
        )


def require_frames(path: Path) -> int:
    """The number of frames of a 4D file.

    Raises:
        UserError: the file is not 4D.
    """
    size = read_header(path).GetSize()
    frames = frames_in(size)
    if frames is None:
        raise UserError(f"{path} must be 4D (three axes and the frames), but has {len(size)} axes.")
    return frames


def usable_frames_of_cine(folder: Path, stem: str, geometry: Path, warnings: list[str]) -> tuple[Path | None, int]:
    """A cine whose frames can become unlabeled cases, and their number.

    Unlabeled frames are a bonus: what is wrong with a cine is a warning, not an error, and gives no frames.

    Args:
        folder: the patient's folder.
        stem: the name of the cine without its ending.
        geometry: a 3D file of the same patient, which the frames must match in size.
        warnings: gets the reason why there are no frames.
    """
    cine = find_volume(folder, stem)
    if cine is None:
        warnings.append(f"{folder} has no {stem}.nii.gz: none of its other frames go to imagesUn.")
        return None, 0
    try:
        count = require_frames(cine)
    except UserError as error:
        warnings.append(f"None of its frames go to imagesUn: {error}")
        return None, 0
    if read_header(cine).GetSize()[:3] != read_header(geometry).GetSize():
        warnings.append(f"{cine} has another size than {geometry.name}: none of its frames go to imagesUn.")
        return None, 0
    return cine, count


def read_volume(path: Path, frame: int | None = None, geometry: Path | None = None) -> SimpleITK.Image:
    """Reads a 3D volume, or one frame (from 0) of a 4D file.

    Args:
        path: the file.
        frame: the frame of a 4D file; None for a 3D file.
        geometry: a 3D file whose spacing, origin and direction replace those of ``path``.

    Raises:
        UserError: the file cannot be read.
    """
    image = _read_cached(path, path.stat().st_mtime_ns)
    if frame is not None:
        image = image[:, :, :, frame]
    if geometry is not None:
        image = SimpleITK.Image(image)
        image.CopyInformation(_read_cached(geometry, geometry.stat().st_mtime_ns))
    return image


# A 4D file is asked for once per frame: decompressing it every time would multiply the time by the number of frames.
# Two entries: the image and its label or geometry. The modification time keeps a file that changed from being stale.
@lru_cache(maxsize=2)
def _read_cached(path: Path, _modified_ns: int) -> SimpleITK.Image:
    try:
        return SimpleITK.ReadImage(str(path))
    except RuntimeError as error:
        raise unreadable(path, error) from error


def read_label(path: Path, image: Path, mapping: Mapping[int, int], frame: int | None = None) -> SimpleITK.Image:
    """Reads a segmentation, maps its labels and lays it onto the geometry of its image.

    Args:
        path: the label file; 4D if ``frame`` is given.
        image: the image file of the same size, from which spacing, origin and direction are taken.
        mapping: label of the file -> label of the dataset.
        frame: the frame (from 0) of 4D files.

    Returns:
        The segmentation, uint8.

    Raises:
        UserError: a file cannot be read, or a label is not in ``mapping``.
    """
    voxels = SimpleITK.GetArrayFromImage(read_volume(path, frame))
    check_label_values(path, voxels, mapping)
    mapped = np.zeros(voxels.shape, dtype=np.uint8)
    for old, new in mapping.items():
        mapped[voxels == old] = new
    label = SimpleITK.GetImageFromArray(mapped)
    label.CopyInformation(read_volume(image, frame))
    return label


def check_label_values(path: Path, voxels: np.ndarray, expected: Iterable[int]) -> None:
    """Raises a UserError where a label file has a value that is not expected."""
    expected = sorted(expected)
    unknown = sorted(set(np.unique(voxels).tolist()) - set(expected))
    if unknown:
        raise UserError(f"{path} has the label {unknown[0]:g}, but only {expected} are expected.")


def read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV file of the source, see :func:`nnunet_pix2rep.files.read_csv_rows`."""
    return read_csv_rows(path, columns, "Download it with the images.")


def parse_whole_number(text: str, key: str, path: Path) -> int:
    """Parses a whole number, also one that a spreadsheet wrote as ``12.0``.

    Raises:
        UserError: it is not one; the message names the key and the file.
    """
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not number.is_integer():
        raise UserError(f"{path}: {key} must be a whole number, but is '{text}'.")
    return int(number)
