"""``collect`` as a whole: read everything, then change the dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from filelock import FileLock, Timeout

from nnunet_pix2rep.annotation.collect.dataset import RawDataset, find_suggestion, open_dataset
from nnunet_pix2rep.annotation.collect.empty_slices import EmptySlices
from nnunet_pix2rep.annotation.collect.labels.drawings import as_recorded, recorded_drawings, unite
from nnunet_pix2rep.annotation.collect.labels.label_names import composed
from nnunet_pix2rep.annotation.collect.labels.meanings import check_meanings
from nnunet_pix2rep.annotation.collect.preprocess import remove_leftovers
from nnunet_pix2rep.annotation.collect.read import (
    FinishedCase,
    FinishedLabels,
    axes_of_sparse_cases,
    read_finished_labels,
)
from nnunet_pix2rep.annotation.collect.take import (
    BACKUP_FOLDER,
    add_patients,
    copy_images,
    move_images,
    preprocess_cases,
    remove_from_pools,
    update_dataset_json,
    write_labels,
)
from nnunet_pix2rep.annotation.collect.work_images import with_work_folder
from nnunet_pix2rep.annotation.work_folder import IMAGES, SUGGESTION, Suggestion
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.annotation_record import (
    AnnotatedCase,
    AnnotationRound,
    add_round,
    read_annotations,
    write_annotations,
)
from nnunet_pix2rep.nnunet.patients.split_files import SPLITS_FILE


@dataclass
class CollectReport:
    """What :func:`collect` did, or would do.

    Attributes:
        dataset: nnU-Net's name of the dataset.
        slices: Case -> slices taken from its label file.
        renamed: Case -> name of its label file, where a viewer had changed it.
        notes: Lines on what is unusual.
        changed: Cases whose labels are new or differ from what was there.
        backup: Where the labels that were replaced are kept; None: none were.
        moved: Cases whose images were moved from ``imagesUn``.
        preprocessed: Folder of preprocessed data -> cases preprocessed now.
        is_sparse: Whether any of these cases has slices that are not annotated.
        left: Cases that wait for a later collect, since nothing is drawn or corrected in them yet.
        outside_folds: Labeled cases that ``splits_final.json`` does not name.
        suggestion: What was to be annotated, if known.
    """

    dataset: str
    slices: dict[str, list[int]] = field(default_factory=dict)
    renamed: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    backup: Path | None = None
    moved: list[str] = field(default_factory=list)
    preprocessed: dict[str, list[str]] = field(default_factory=dict)
    is_sparse: bool = False
    left: list[str] = field(default_factory=list)
    outside_folds: list[str] = field(default_factory=list)
    suggestion: Suggestion | None = None


def collect(
    dataset_name_or_id: str | int,
    folder: Path,
    *,
    empty_slices: EmptySlices = "refuse",
    named_empty: Sequence[str] = (),
    all_drafts_right: bool = False,
    right_drafts: Sequence[str] = (),
    put_back: Sequence[str] = (),
    dry_run: bool = False,
) -> CollectReport:
    """Checks finished labels and takes them into ``imagesTr`` and ``labelsTr`` of a dataset.

    Nothing is changed unless all labels can be taken. The same command completes an interrupted run, and changes
    nothing where everything was taken already.

    Args:
        dataset_name_or_id: nnU-Net's dataset, by name or number.
        folder: The folder of labels, or the work folder that holds it.
        empty_slices: What becomes of chosen slices in which nothing is drawn: ``"refuse"``; ``"background"`` takes them
            without foreground; ``"later"`` leaves them, drafts that nobody has changed, and cases without a label
            file, for a later call.
        named_empty: Slices, as ``CASE`` or ``CASE:SLICE``, that are taken without foreground in any case.
        all_drafts_right: Whether slices that are still the drafts of ``suggest`` are taken.
        right_drafts: Slices, named likewise, that are.
        put_back: Slices, named likewise, whose drawing is taken though the dataset had it before and has newer labels.
        dry_run: Check everything and change nothing.

    Raises:
        UserError: anything is wrong with any label file; the message names files and slices. Or the labels of the
            dataset are not those of the suggestion.
    """
    dataset = open_dataset(dataset_name_or_id)
    folder, suggestion = find_suggestion(folder, dataset.name)
    if suggestion is not None:
        files = folder.parent / SUGGESTION, dataset.folder / "dataset.json"
        check_meanings(suggestion.labels, dataset.dataset_json["labels"], *files)
    with _only_process(dataset.folder, needed=not dry_run), TemporaryDirectory() as scratch:
        if suggestion is not None:
            dataset = with_work_folder(dataset, folder.parent, suggestion, Path(scratch))
        reader = dataset.reader(suggestion.plans if suggestion is not None else None)
        rounds = read_annotations(dataset.folder)
        labels = read_finished_labels(
            dataset,
            folder,
            suggestion=suggestion,
            rounds=rounds,
            reader=reader,
            empty_slices=empty_slices,
            named_empty=named_empty,
            all_drafts_right=all_drafts_right,
            right_drafts=right_drafts,
            put_back=put_back,
        )
        report = _describe(dataset, labels, suggestion)
        if dry_run:
            return report
        finished = labels.cases
        backup = dataset.folder / BACKUP_FOLDER / datetime.now().strftime("%Y%m%d_%H%M%S_%f")
        try:
            report.backup = backup if write_labels(dataset, finished, reader, backup) else None
            _write_record(dataset, add_round(rounds, _round_of(finished, suggestion, rounds)))
            made = add_patients(dataset, dataset.patients_of(finished))
            if made is not None:
                report.notes.append(f"{made} was made: it says whom each labeled case shows")
            copy_images(dataset, finished)
            report.moved = move_images(dataset, finished)
            _bring_up_to_date(dataset, {case: taken.axis for case, taken in finished.items()}, report)
        except OSError as error:
            raise UserError(
                f"{error}. Check permissions and free space, then run the same command again to complete it."
            ) from error
    return report


def preprocess_again(dataset_name_or_id: str | int) -> CollectReport:
    """Preprocesses cases with slices that are to be ignored wherever nnU-Net's own preprocessing has done it.

    Raises:
        UserError: the dataset has no such case.
    """
    dataset = open_dataset(dataset_name_or_id)
    axes = axes_of_sparse_cases(dataset, read_annotations(dataset.folder))
    if not axes:
        raise UserError(f"{dataset.name} has no partly annotated case yet. Name a folder of finished labels with -i.")
    report = CollectReport(dataset.name)
    with _only_process(dataset.folder):
        _bring_up_to_date(dataset, axes, report)
    return report


def _describe(dataset: RawDataset, finished: FinishedLabels, suggestion: Suggestion | None) -> CollectReport:
    report = CollectReport(dataset.name, suggestion=suggestion, left=finished.left)
    for case, labels in finished.cases.items():
        report.slices[case] = labels.slices
        report.is_sparse |= len(labels.slices) < labels.shape[labels.axis]
        if composed(labels.file.name) != composed(f"{case}{dataset.ending}"):
            report.renamed[case] = labels.file.name
        report.notes += [f"{labels.file.name}, {note}" for note in labels.notes]
        if case in dataset.copies and dataset.images[case] == dataset.copies[case]:
            report.notes.append(f"{case}: {_origin_of_image(dataset, case)}")
    report.changed = [case for case, labels in finished.cases.items() if labels.is_new]
    return report


def _origin_of_image(dataset: RawDataset, case: str) -> str:
    if case in dataset.copied_again:
        return f"the image in {IMAGES}/ was changed or is gone; it is taken from {dataset.copied_again[case]} again"
    return f"its image is copied from {dataset.copies[case][0].parent} to imagesTr"


def _bring_up_to_date(dataset: RawDataset, axes: Mapping[str, int], report: CollectReport) -> None:
    """All that follows from labels and images in place."""
    update_dataset_json(dataset)
    if dataset.preprocessed is not None:
        remove_leftovers(dataset.preprocessed)
        report.preprocessed = preprocess_cases(dataset, axes)
        # only now, so that no training ever misses an image
        if report.preprocessed:
            remove_from_pools(dataset, axes)
    report.outside_folds = _outside_folds(dataset, list(axes))


def _round_of(
    finished: Mapping[str, FinishedCase], suggestion: Suggestion | None, rounds: Sequence[AnnotationRound]
) -> AnnotationRound:
    cases = {}
    for case, labels in finished.items():
        earlier = recorded_drawings(rounds, case, labels.axis)
        known = {index: earlier.get(index, set()) for index in labels.drawings}
        digests = as_recorded(unite(known, labels.drawings))
        cases[case] = AnnotatedCase(labels.axis, labels.slices, labels.content, digests)
    return AnnotationRound(suggestion.as_json() if suggestion is not None else None, cases)


def _write_record(dataset: RawDataset, rounds: Sequence[AnnotationRound]) -> None:
    for folder in (dataset.folder, dataset.preprocessed):
        if folder is not None and read_annotations(folder) != list(rounds):
            write_annotations(rounds, folder)


def _outside_folds(dataset: RawDataset, cases: Sequence[str]) -> list[str]:
    file = dataset.preprocessed / SPLITS_FILE if dataset.preprocessed is not None else None
    if file is None or not file.is_file():
        return []
    named = {case for split in read_json(file) for side in ("train", "val") for case in split[side]}
    return sorted(set(cases) - named)


@contextmanager
def _only_process(folder: Path, needed: bool = True) -> Iterator[None]:
    if not needed:
        yield
        return
    lock = FileLock(folder / ".collect.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise UserError(f"Another process is collecting into {folder}. Wait for it to end.") from None
    try:
        yield
    finally:
        lock.release()
