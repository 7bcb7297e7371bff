"""Writes the scans and label files of a work folder, and never over labels that somebody has drawn in."""

from __future__ import annotations

import csv
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_pix2rep.annotation.image_copies import copy_images
from nnunet_pix2rep.annotation.label_files import ImageGeometry, LabelFiles, labels_to_draw_in
from nnunet_pix2rep.annotation.suggest.features.slice_features import FOLDER as FEATURES_FOLDER
from nnunet_pix2rep.annotation.suggest.features.slice_features import require_own_features
from nnunet_pix2rep.annotation.suggest.output.viewers import ViewerPlace
from nnunet_pix2rep.annotation.suggest.scans import Scan, read_labels
from nnunet_pix2rep.annotation.work_folder import (
    IMAGES,
    LABELS,
    OVERVIEW,
    SUGGESTION,
    WORKLIST,
    SuggestedSlice,
    is_left_by_a_system,
)
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path, checksum, read_json, write_json

CHECKSUMS = ".label_checksums.json"
SCRATCH_PREFIX = ".incomplete_"
REPLACING = ".replacing"  # stands while an earlier suggestion is replaced
OWN_NAMES = {IMAGES, LABELS, OVERVIEW, SUGGESTION, WORKLIST, CHECKSUMS, REPLACING, FEATURES_FOLDER}
MOST_CHANGES = 5
# images/CASE_0000.ENDING; images/CASE.json of 3D TIFF
IMAGE_OF_A_LABEL = re.compile(rf"{IMAGES}/([^/]+)(?:_\d{{4}}(?=\.)|(?=\.json$))(\.[^/]+)")
WORKLIST_COLUMNS = (
    "rank", "patient", "case", "axis", "slice_itk_snap", "slice_3d_slicer", "coverage", "share_of_the_rest"
)  # fmt: skip


def check_output(folder: Path) -> None:
    """Refuses a folder that suggestions must not be written to.

    Raises:
        UserError: it is a file, holds other files than those of a work folder, or see :func:`require_own_features` and
            :func:`require_untouched`.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"-o {folder} is a file; it should be a folder.")
    if not folder.is_dir():
        return
    foreign = sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in OWN_NAMES and not path.name.startswith(SCRATCH_PREFIX) and not is_left_by_a_system(path)
    )
    if foreign:
        raise UserError(f"-o {folder} is not empty: it holds {foreign[0]}. Choose a folder of its own.")
    require_own_features(folder / FEATURES_FOLDER)
    require_untouched(folder)


def require_untouched(folder: Path) -> None:
    """Refuses a work folder in which anybody has worked: to replace it would remove what they did.

    Raises:
        UserError: ``labels/`` or ``images/`` is not as it was written.
    """
    changes = changes_since_suggested(folder)
    if not changes:
        return
    more = f"\n  and {len(changes) - MOST_CHANGES} more" if len(changes) > MOST_CHANGES else ""
    listed = "\n  ".join(changes[:MOST_CHANGES])
    raise UserError(
        f"{folder} is not as it was suggested. Nothing was removed, and no suggestion was written.\n  {listed}{more}\n"
        "Take finished labels in with nnunet_pix2rep collect, then choose another folder with -o. Or move added files "
        f"away, put missing ones back and repeat the command. To start anew, move all but {FEATURES_FOLDER}/ away."
    )


def changes_since_suggested(folder: Path) -> list[str]:
    """A line for each file in ``labels/`` and ``images/`` of a work folder that is not as ``suggest`` wrote it.

    A missing label file is one: somebody may draw in it elsewhere. A missing image is none, since it is only a copy.
    """
    known = _read_checksums(folder)
    images_are_known = any(name.startswith(f"{IMAGES}/") for name in known)
    changes = []
    for path in _files_in(folder):
        name = path.relative_to(folder).as_posix()
        if name in known:
            if not path.is_file() or checksum(path) != known[name]:
                changes.append(f"{name} was changed.")
        elif images_are_known or not _is_image_of_a_label(name, known):
            changes.append(f"{name} was added.")
    # an interrupted run has moved the labels away itself; without the suggestion everything was moved, or deleted
    if (folder / SUGGESTION).is_file() and not (folder / REPLACING).exists():
        labels = sorted(name for name in known if name.startswith(f"{LABELS}/"))
        changes += [f"{name} is missing." for name in labels if not (folder / name).exists()]
    return changes


def _read_checksums(folder: Path) -> dict[str, str]:
    """Path below a work folder -> checksum; earlier versions recorded label files only, by their names."""
    recorded = read_json(folder / CHECKSUMS) if (folder / CHECKSUMS).is_file() else {}
    return {name if "/" in name else f"{LABELS}/{name}": digest for name, digest in recorded.items()}


def _is_image_of_a_label(name: str, labels: Collection[str]) -> bool:
    """Whether a file is named like an image of a suggested scan, all that can be said where no checksum is recorded."""
    match = IMAGE_OF_A_LABEL.fullmatch(name)
    return match is not None and f"{LABELS}/{match[1]}{match[2]}" in labels


def _files_in(folder: Path) -> Iterator[Path]:
    """All files in ``labels/`` and ``images/`` of a work folder, at any depth, but those that a system leaves."""
    for name in (LABELS, IMAGES):
        if (folder / name).is_dir():
            yield from _files_below(folder / name)


def _files_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):  # unlike rglob, it does not pass over folders that may not be read
        if path.is_dir() and not path.is_symlink():
            yield from _files_below(path)
        elif not is_left_by_a_system(path):
            yield path


@dataclass(frozen=True)
class WrittenScan:
    """A scan in the work folder.

    Attributes:
        volume: Its first channel, shape (Z, Y, X).
        geometry: Its grid.
        files: Its image files there.
    """

    volume: np.ndarray
    geometry: ImageGeometry
    files: list[Path]


def write_scan(scan: Scan, indices: Sequence[int], label_files: LabelFiles, folder: Path) -> WrittenScan:
    """Writes a scan and the labels to draw in below a folder.

    Args:
        scan: The scan.
        indices: Its chosen slices.
        label_files: The dataset's.
        folder: Gets ``images/`` and ``labels/``.

    Raises:
        UserError: the image cannot be read or is not the one that was preprocessed.
    """
    ignore_label = label_files.ignore_label
    if ignore_label is None:
        raise ValueError("without an ignore label a scan cannot be annotated in part")
    files = copy_images(scan.case, scan.files, scan.frame, label_files.file_ending, folder / IMAGES)
    image, properties = label_files.read_image(files)
    depth, height, width = image.shape[1:]
    geometry = ImageGeometry((depth, height, width), properties)
    if geometry.shape != scan.grid.shape:
        raise UserError(
            f"{scan.files[0]} has the shape {geometry.shape}, but was preprocessed with {scan.grid.shape}. Preprocess "
            "it again."
        )
    existing = None if scan.label is None else read_labels(label_files, scan.label, scan.grid)
    labels = labels_to_draw_in(
        geometry.shape, scan.axis, indices=indices, ignore_label=label_files.require_ignore_label(), existing=existing
    )
    label_files.write(labels, folder / LABELS / f"{scan.case}{label_files.file_ending}", properties)
    return WrittenScan(image[0], geometry, files)


def write_worklist(
    entries: Sequence[SuggestedSlice],
    places: Mapping[str, Sequence[ViewerPlace | None]],
    start: float | None,
    file: Path,
) -> None:
    """Writes the list of slices as CSV.

    Args:
        entries: The slices in order.
        places: Case -> where viewers find its slices; None for a 2D image, whose fields stay empty.
        start: Coverage before the first slice; None where it is not known.
        file: The file.
    """
    with atomic_path(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(WORKLIST_COLUMNS)
        before = start
        for entry in entries:
            place = places[entry.case][entry.index]
            shares = ["", ""]
            if entry.coverage is not None and before is not None:
                rest = (entry.coverage - before) / (1 - before) if before < 1 else 0.0
                shares, before = [f"{entry.coverage:.4f}", f"{rest:.4f}"], entry.coverage
            where = ["", "", ""] if place is None else [place.axis, place.index + 1, place.index]
            writer.writerow([entry.rank, entry.patient, entry.case, *where, *shares])


def move_into_place(scratch: Path, folder: Path) -> None:
    """Moves a complete work folder to its place, over an earlier one that nobody has worked in.

    Interrupted at any step, the same command completes it: labels and images stand there only with their checksums.

    Args:
        scratch: The new one, in ``folder``; gets what it replaces, for the caller to remove.
        folder: The place.

    Raises:
        UserError: see :func:`require_untouched`.
    """
    written = {path.relative_to(scratch).as_posix(): checksum(path) for path in _files_in(scratch)}
    write_json(written, scratch / CHECKSUMS)
    require_untouched(folder)  # once more: hours may have passed since check_output
    (folder / REPLACING).touch()
    for name in (LABELS, IMAGES):
        if (folder / name).is_dir():  # moved, not removed: no interruption leaves a part of it there
            (folder / name).rename(scratch / f"old_{name}")
    for name in (CHECKSUMS, IMAGES, WORKLIST, SUGGESTION, OVERVIEW, LABELS):
        (scratch / name).replace(folder / name)
    (folder / REPLACING).unlink()
