"""Reading and checking a whole folder of labels before anything is changed."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from nnunet_pix2rep.annotation.collect.check_case import CaseChecks, axes_of, labels_before
from nnunet_pix2rep.annotation.collect.checked_labels import CheckedLabels
from nnunet_pix2rep.annotation.collect.dataset import RawDataset
from nnunet_pix2rep.annotation.collect.empty_slices import EmptySlices
from nnunet_pix2rep.annotation.collect.labels.drawings import Drawings
from nnunet_pix2rep.annotation.collect.labels.label_names import find_label_files
from nnunet_pix2rep.annotation.collect.labels.named_slices import find_named_slices
from nnunet_pix2rep.annotation.collect.preprocess import digest_of
from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.annotation.work_folder import Suggestion
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.annotation_record import AnnotationRound
from nnunet_pix2rep.nnunet.data.sparse_labels import annotated_slices, find_axis

MOST_PROBLEMS = 30


@dataclass(frozen=True)
class FinishedCase:
    """A case whose labels can be taken; they are kept compressed, since all cases are read before any is taken.

    Attributes:
        file: The label file.
        axis: The axis that slices are counted along.
        slices: The slices that are taken from the file.
        notes: What the user should know.
        is_new: Whether taking them changes anything.
        content: Digest of the labels of these slices.
        drawings: Of each of these slices the drawing that the dataset gets, and the one that it had.
        shape: (Z, Y, X).
        packed: The labels merged with what was annotated before.
    """

    file: Path
    axis: int
    slices: list[int]
    notes: list[str]
    is_new: bool
    content: str
    drawings: Drawings
    shape: tuple[int, ...]
    packed: bytes

    def unpack(self) -> np.ndarray:
        """The labels merged with what was annotated before, shape (Z, Y, X), int16."""
        return np.frombuffer(zlib.decompress(self.packed), dtype=np.int16).reshape(self.shape)


@dataclass(frozen=True)
class FinishedLabels:
    """What a folder of labels holds.

    Attributes:
        cases: Case -> its labels, sorted.
        left: Cases that wait for a later collect, sorted: no chosen slice is drawn or corrected, or there is no file.
    """

    cases: dict[str, FinishedCase]
    left: list[str]


def _pack(file: Path, checked: CheckedLabels, before: np.ndarray | None) -> FinishedCase:
    labels = checked.labels.astype(np.int16)
    return FinishedCase(
        file=file,
        axis=checked.axis,
        slices=checked.slices,
        notes=checked.notes,
        is_new=before is None or not np.array_equal(before, labels),
        content=digest_of(np.take(labels, checked.slices, axis=checked.axis)),
        drawings=checked.drawings,
        shape=labels.shape,
        packed=zlib.compress(labels.tobytes(), level=1),
    )


def read_finished_labels(
    dataset: RawDataset,
    folder: Path,
    suggestion: Suggestion | None,
    rounds: Sequence[AnnotationRound],
    reader: LabelFiles,
    *,
    empty_slices: EmptySlices,
    named_empty: Iterable[str] = (),
    all_drafts_right: bool = False,
    right_drafts: Iterable[str] = (),
    put_back: Iterable[str] = (),
) -> FinishedLabels:
    """Reads and checks all label files of a folder.

    Args:
        dataset: The dataset.
        folder: The folder of labels.
        suggestion: What was to be annotated; None: it is not known.
        rounds: What was collected before.
        reader: Of the dataset.
        empty_slices: What becomes of slices without any foreground; for ``"later"`` cases without a file wait too.
        named_empty: Slices that are done without any foreground, as ``CASE`` or ``CASE:SLICE``.
        all_drafts_right: Whether slices that are still the drafts of ``suggest`` are done.
        right_drafts: Slices that are, named likewise.
        put_back: Slices whose drawing is taken also where the dataset has newer labels, named likewise.

    Raises:
        UserError: anything is wrong with any file or name; the message has a line for each, with file and slice.
    """
    chosen = suggestion.chosen() if suggestion is not None else None
    known = {*dataset.images, *dataset.cases_in("imagesTs")}
    found = find_label_files(folder, chosen if chosen is not None else dataset.images, dataset.ending, others=known)
    unusable = dataset.check_cases(found.files)
    empty = find_named_slices("--allow-empty", named_empty, found.files)
    right = find_named_slices("--accept-drafts", right_drafts, found.files)
    back = find_named_slices("--put-back", put_back, found.files)
    problems = [*found.problems, *unusable.values(), *empty.problems, *right.problems, *back.problems]
    left = sorted((chosen or {}).keys() - found.files.keys())
    if empty_slices != "later":
        problems += [
            f"{case} has no label file. Was it moved or renamed? --leave-empty collects the others." for case in left
        ]
    checks = CaseChecks(
        dataset,
        suggestion,
        rounds,
        reader,
        empty_slices,
        named_empty=empty,
        all_drafts_right=all_drafts_right,
        right_drafts=right,
        put_back=back,
    )
    finished = {}
    for case in tqdm(sorted(found.files.keys() - unusable.keys()), desc="Checking labels", unit="case"):
        file = found.files[case]
        try:
            before = labels_before(dataset, case, reader)
            checked = checks.check(case, file, before)
        except UserError as problem:
            problems.append(f"{file.name}: {problem}.")
            continue
        problems += [f"{file.name}, {problem}." for problem in checked.problems]
        if empty_slices == "later" and not checked.slices:
            left.append(case)
        else:
            finished[case] = _pack(file, checked, before)
    if problems:
        raise UserError(_listed(problems, folder))
    if left and not finished:
        raise UserError(f"Nothing is drawn in any label file in {folder} yet, and no draft is corrected.")
    return FinishedLabels(finished, sorted(left))


def _listed(problems: Sequence[str], folder: Path) -> str:
    more = f"\n  and {len(problems) - MOST_PROBLEMS} more" if len(problems) > MOST_PROBLEMS else ""
    listed = "\n  ".join(problems[:MOST_PROBLEMS])
    return (
        f"The labels in {folder} cannot be taken; nothing was changed. Slices are counted from 0, as in 3D Slicer; "
        f"ITK-SNAP's numbers are one higher.\n  {listed}{more}"
    )


def axes_of_sparse_cases(dataset: RawDataset, rounds: Iterable[AnnotationRound]) -> dict[str, int]:
    """Case -> axis of its slices, for labeled cases that were collected or have slices that are ignore as a whole."""
    recorded = axes_of(rounds)
    reader, ignore = dataset.reader(None), dataset.ignore_label
    axes = {}
    for case, files in dataset.cases_in("imagesTr").items():
        if case in recorded:
            axes[case] = recorded[case]
        elif ignore is not None and (labels := labels_before(dataset, case, reader)) is not None:
            axis = find_axis(labels, ignore, reader.geometry(files).spacing)
            if len(annotated_slices(labels, axis, ignore)) < labels.shape[axis]:
                axes[case] = axis
    return axes
