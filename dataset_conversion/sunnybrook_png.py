"""The PNG export of the Sunnybrook data: the labeled slices as gray images, with masks of the left-ventricular cavity.

``Images/<part>/<patient>-IM-0001-<NNNN>.dcm.png``, and the mask of the same name in ``Labels/<part>/`` (0 and 255).
The scanner wrote 20 cardiac phases per slice position, so NNNN = 20 * slice + phase. Pixels are 1.25 mm wide and slices
8 mm apart; a PNG has neither origin nor direction, so these are neutral.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import SimpleITK

from nnunet_pix2rep.dataset_conversion.cardiac_phases import name_phases
from nnunet_pix2rep.dataset_conversion.source_files import require_folder
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_dataset_writer import Case

PHASES_PER_SLICE = 20
PIXELS = 256
SPACING_MM = (1.25, 1.25, 8.0)
FILE_NAME = re.compile(r"(?P<patient>(?P<group>SC(?:-[A-Z]+)+)-\d+)-IM-\d{4}-(?P<number>\d{4})\.dcm\.png")

Phases = dict[int, dict[int, Path]]
"""Phase -> slice position -> image file."""


def cases_from_png(source: Path) -> list[Case]:
    """Two cases per patient.

    Args:
        source: folder with ``Images/`` and ``Labels/``, each with any of the part folders.

    Raises:
        UserError: unexpected or duplicate file names, an image without a mask or the reverse, another image size, a
            missing slice within a stack, or not exactly two phases.
    """
    images = index_folder(require_folder(source / "Images", "Images/ of the PNG export"))
    masks = index_folder(require_folder(source / "Labels", "Labels/ of the PNG export"))
    for name in sorted(images.keys() ^ masks.keys()):
        present = images.get(name) or masks[name]
        missing = "mask in Labels/" if name in images else "image in Images/"
        raise UserError(f"{present} has no {missing}: add it, or remove the file.")
    cases = []
    for patient, phases in group_by_patient(images).items():
        example = next(iter(phases[min(phases)].values()))
        group = parse_name(example)["group"]
        areas = {
            phase: {position: int(read_mask(masks[path.name]).sum()) for position, path in slices.items()}
            for phase, slices in phases.items()
        }
        for frame, phase in name_phases(areas, patient, example).items():
            files = check_contiguous(phases[phase])
            image = partial(stack, files)
            label = partial(stack, [masks[path.name] for path in files], is_mask=True)
            cases.append(
                Case(name=f"{patient}_{frame}", subset="Tr", patient=patient, group=group, image=image, label=label)
            )
    return cases


def parse_name(path: Path) -> dict[str, str]:
    """The parts ``patient``, ``group`` and ``number`` of a file name.

    Raises:
        UserError: the name does not fit the pattern.
    """
    match = FILE_NAME.fullmatch(path.name)
    if match is None:
        raise UserError(f"{path} does not match <patient>-IM-0001-<NNNN>.dcm.png: rename or remove it.")
    return match.groupdict()


def index_folder(folder: Path) -> dict[str, Path]:
    """File name -> path of all images, of the part folders and beside them.

    Raises:
        UserError: a name does not fit the pattern, or occurs in two parts.
    """
    files: dict[str, Path] = {}
    for path in sorted([*folder.glob("*/*"), *(path for path in folder.iterdir() if path.is_file())]):
        if path.name.startswith("."):
            continue
        parse_name(path)
        if path.name in files:
            raise UserError(f"{path} exists a second time as {files[path.name]}: remove one of them.")
        files[path.name] = path
    return files


def group_by_patient(images: dict[str, Path]) -> dict[str, Phases]:
    """Patient -> phase -> slice position -> image.

    Raises:
        UserError: two files show the same slice and phase.
    """
    patients: dict[str, Phases] = {}
    for path in images.values():
        parts = parse_name(path)
        number = int(parts["number"])
        # Phase 0 is the twentieth image of the position before.
        phase, position = number % PHASES_PER_SLICE, (number - 1) // PHASES_PER_SLICE
        slices = patients.setdefault(parts["patient"], {}).setdefault(phase, {})
        if position in slices:
            raise UserError(f"{path} and {slices[position]} show the same slice and phase: remove one of them.")
        slices[position] = path
    return patients


def check_contiguous(slices: dict[int, Path]) -> list[Path]:
    """The files of a stack in the order of their positions.

    A gap is an error: closing it would put slices 16 mm apart into a volume that claims 8 mm, and filling it would
    invent an image. The export itself has no gaps.

    Raises:
        UserError: a slice within the stack is missing; the message names it and its neighbor.
    """
    for position, following in pairwise(sorted(slices)):
        if following != position + 1:
            neighbor = slices[position]
            missing = int(parse_name(neighbor)["number"]) + PHASES_PER_SLICE
            raise UserError(
                f"The slice after {neighbor} is missing: add image and mask {missing:04d}, or remove the patient."
            )
    return [slices[position] for position in sorted(slices)]


def stack(files: Sequence[Path], is_mask: bool = False) -> SimpleITK.Image:
    """One volume of all slices, uint8."""
    read = read_mask if is_mask else read_gray
    volume = SimpleITK.GetImageFromArray(np.stack([read(path) for path in files]).astype(np.uint8))
    volume.SetSpacing(SPACING_MM)
    return volume


def read_mask(path: Path) -> np.ndarray:
    """A mask as an array (256, 256), bool.

    Raises:
        UserError: it has values other than 0 and 255.
    """
    pixels = read_gray(path)
    if not np.isin(pixels, (0, 255)).all():
        raise UserError(f"{path} is not a mask: it has values other than 0 and 255.")
    return pixels == 255


def read_gray(path: Path) -> np.ndarray:
    """A gray PNG, of one channel or of equal ones, as an array (256, 256), uint8.

    Raises:
        UserError: the file is damaged, colored or of another size.
    """
    try:
        pixels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    except RuntimeError as error:
        raise UserError(f"{path} cannot be read as an image: it may be damaged. Export it again.") from error
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    if pixels.shape[:2] != (PIXELS, PIXELS) or pixels.dtype != np.uint8 or (pixels != pixels[..., :1]).any():
        raise UserError(
            f"{path} must be a gray 8-bit image of {PIXELS} x {PIXELS} pixels, but is of shape {pixels.shape}, "
            f"{pixels.dtype}."
        )
    return pixels[..., 0]
