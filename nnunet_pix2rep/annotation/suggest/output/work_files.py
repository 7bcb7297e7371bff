"""Writes the scans and label files of a work folder, and never over labels that somebody has drawn in."""

from __future__ import annotations

import csv
import hashlib
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK

from nnunet_pix2rep.annotation.label_files import ImageGeometry, LabelFiles, labels_to_draw_in
from nnunet_pix2rep.annotation.suggest.features.slice_features import FOLDER as FEATURES_FOLDER
from nnunet_pix2rep.annotation.suggest.output.viewers import ViewerPlace
from nnunet_pix2rep.annotation.suggest.scans import Scan, read_labels
from nnunet_pix2rep.annotation.work_folder import IMAGES, LABELS, OVERVIEW, SUGGESTION, WORKLIST, SuggestedSlice
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path, read_json, write_json

CHECKSUMS = ".label_checksums.json"
SCRATCH_PREFIX = ".incomplete_"
OWN_NAMES = {IMAGES, LABELS, OVERVIEW, SUGGESTION, WORKLIST, CHECKSUMS, FEATURES_FOLDER}
WORKLIST_COLUMNS = (
    "rank", "patient", "case", "axis", "slice_itk_snap", "slice_3d_slicer", "coverage", "share_of_the_rest"
)  # fmt: skip


def check_output(folder: Path) -> None:
    """Refuses a folder that suggestions must not be written to.

    Raises:
        UserError: it is a file, holds other files than those of a work folder, or labels that were drawn in.
    """
    if folder.exists() and not folder.is_dir():
        raise UserError(f"-o {folder} is a file; it should be a folder.")
    if not folder.is_dir():
        return
    foreign = sorted(
        path.name
        for path in folder.iterdir()
        if path.name not in OWN_NAMES and not path.name.startswith(SCRATCH_PREFIX)
    )
    if foreign:
        raise UserError(f"-o {folder} is not empty: it holds {foreign[0]}. Choose a folder of its own.")
    drawn = labels_drawn_in(folder)
    if drawn:
        raise UserError(
            f"{folder / LABELS / drawn[0]} was changed since it was suggested ({len(drawn)} file(s) in all). Nothing "
            "was written. Take them in with nnunet_pix2rep collect, or choose another folder with -o."
        )


def labels_drawn_in(folder: Path) -> list[str]:
    """Names of the label files of a work folder that are not as they were written, sorted."""
    if not (folder / LABELS).is_dir():
        return []
    known = read_json(folder / CHECKSUMS) if (folder / CHECKSUMS).is_file() else {}
    files = sorted(path for path in (folder / LABELS).iterdir() if path.is_file())
    return [path.name for path in files if known.get(path.name) != checksum(path)]


def checksum(file: Path) -> str:
    """SHA-256 of a file's content."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


@dataclass(frozen=True)
class WrittenScan:
    """A scan in the work folder.

    Attributes:
        volume: Its first channel, shape (Z, Y, X).
        geometry: Its grid.
    """

    volume: np.ndarray
    geometry: ImageGeometry


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
    files = copy_images(scan, label_files.file_ending, folder / IMAGES)
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
    return WrittenScan(image[0], geometry)


def copy_images(scan: Scan, file_ending: str, folder: Path) -> list[Path]:
    """Copies the files of a scan under the case's name; a frame of a 4D file becomes a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = [folder / f"{scan.case}_{channel:04d}{file_ending}" for channel in range(len(scan.files))]
    for source, target in zip(scan.files, targets, strict=True):
        if scan.frame is None:
            shutil.copyfile(source, target)
        else:
            series = SimpleITK.ReadImage(str(source))
            SimpleITK.WriteImage(series[:, :, :, scan.frame - 1], str(target), useCompression=True)
    spacing = scan.files[0].with_name(f"{scan.files[0].name.removesuffix(file_ending)[: -len('_0000')]}.json")
    if file_ending.startswith(".tif") and spacing.is_file():  # of 3D TIFF, as nnU-Net's Tiff3DIO wants it
        shutil.copyfile(spacing, folder / f"{scan.case}.json")
    return targets


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
    """Moves a complete work folder to its place, over an earlier one that nobody has drawn in.

    Interrupted at any step, the same command completes it: labels stand there only with their checksums.
    """
    labels = sorted((scratch / LABELS).iterdir())
    write_json({path.name: checksum(path) for path in labels}, scratch / CHECKSUMS)
    for name in (LABELS, IMAGES):
        if (folder / name).is_dir():
            shutil.rmtree(folder / name)
    for name in (IMAGES, WORKLIST, SUGGESTION, OVERVIEW, CHECKSUMS, LABELS):
        (scratch / name).replace(folder / name)
