"""From a choice of slices to the work folder."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from nnunet_pix2rep import __version__
from nnunet_pix2rep.annotation.slices import SliceDigests, slice_digests
from nnunet_pix2rep.annotation.suggest.choose import Choice
from nnunet_pix2rep.annotation.suggest.output.draft import fill_in_drafts, require_annotations
from nnunet_pix2rep.annotation.suggest.output.overview import Thumbnail, write_overview
from nnunet_pix2rep.annotation.suggest.output.viewers import ViewerPlace, upright, viewer_places
from nnunet_pix2rep.annotation.suggest.output.work_files import (
    SCRATCH_PREFIX,
    WrittenScan,
    move_into_place,
    write_scan,
    write_worklist,
)
from nnunet_pix2rep.annotation.suggest.planned_dataset import PlannedDataset
from nnunet_pix2rep.annotation.suggest.request import SuggestSettings
from nnunet_pix2rep.annotation.suggest.scans import NOT_PREPROCESSED, Scans, read_labels
from nnunet_pix2rep.annotation.work_folder import OVERVIEW, WORKLIST, SuggestedSlice, Suggestion, write_suggestion
from nnunet_pix2rep.files import checksum
from nnunet_pix2rep.nnunet.features.model import FeatureModel


@dataclass(frozen=True)
class Outcome:
    """All that a work folder is written from.

    Attributes:
        dataset: The dataset.
        scans: Its scans.
        settings: What was asked for.
        model: The pretraining, where one was needed.
        choice: The slices.
        features: For the record: which features, and how pixels were weighed; None without.
        notes: What the user should know.
    """

    dataset: PlannedDataset
    scans: Scans
    settings: SuggestSettings
    model: FeatureModel | None
    choice: Choice
    features: dict[str, Any] | None
    notes: list[str]

    def suggestion(self) -> Suggestion:
        """The record of it.

        Raises:
            UserError: a label file cannot be read.
        """
        choice, settings, click = self.choice, self.settings, self.settings.click
        named = {entry.case for entry in choice.entries} | {item.case for item in self.scans.annotated}
        return Suggestion(
            dataset=self.dataset.name,
            plans=self.dataset.plans["plans_name"],
            configuration=self.dataset.configuration,
            checkpoint=None if self.model is None else _record_of(self.model),
            features=self.features,
            selector=settings.selector,
            seed=settings.seed,
            budget=settings.budget,
            unit=settings.unit,
            axes={scan.case: scan.axis for scan in self.scans.scans if scan.case in named},
            slices=choice.entries,
            pool=self._pool(),
            patients_left_out=self.scans.patients_left_out,
            annotated_before=self.scans.annotated,
            like=None if click is None else {"case": click.case, "point": list(click.point)},
            package_version=__version__,
            copied_slices=self._copied_slices(),
            labels=self.dataset.dataset_json["labels"],
        )

    def _pool(self) -> dict[str, int]:
        """What could be chosen from; scans that could not, since they are not preprocessed, where there are any."""
        pool, waiting = self.choice.pool, len(self.scans.waiting)
        numbers = {
            "patients": len(set(pool.patients)),
            "cases": len(set(pool.cases)),
            "slices": int((~pool.annotated).sum()),
        }
        return numbers | ({NOT_PREPROCESSED: waiting} if waiting else {})

    def _copied_slices(self) -> dict[str, SliceDigests]:
        """Digests of what label files get from the dataset: the annotated slices of scans with chosen ones."""
        chosen, files = {entry.case for entry in self.choice.entries}, self.dataset.label_files()
        return {
            scan.case: slice_digests(read_labels(files, scan.label, scan.grid), scan.axis, scan.annotated)
            for scan in self.scans.scans
            if scan.case in chosen and scan.label is not None and scan.annotated
        }


def _record_of(model: FeatureModel) -> dict[str, Any]:
    seed = model.config.pretraining.seed if model.record else None
    return {"file": str(model.source.resolve()), "seed": seed}


def write_work_folder(outcome: Outcome, folder: Path) -> Suggestion:
    """Writes everything beside the place where it belongs, then moves it there."""
    suggestion = outcome.suggestion()
    with TemporaryDirectory(dir=folder, prefix=SCRATCH_PREFIX) as scratch:
        suggestion = _write(outcome, suggestion, Path(scratch))
        move_into_place(Path(scratch), folder)
    return suggestion


def _write(outcome: Outcome, suggestion: Suggestion, folder: Path) -> Suggestion:
    """Writes all files.

    Returns:
        The suggestion with what is known of the files.
    """
    files, chosen = outcome.dataset.label_files(), suggestion.chosen()
    scans = {scan.case: scan for scan in outcome.scans.scans}
    shown = _slices_to_show(suggestion)
    places: dict[str, list[ViewerPlace | None]] = {}
    thumbnails: dict[int, Thumbnail] = {}
    checksums: dict[str, str] = {}
    for case, indices in chosen.items():
        axis = scans[case].axis
        written = write_scan(scans[case], indices, files, folder)
        checksums |= {file.name: checksum(file) for file in written.files}
        places[case] = viewer_places(files, written.geometry, axis)
        thumbnails |= {
            entry.rank: _thumbnail(written, axis, places[case][entry.index], entry.index)
            for entry in shown
            if entry.case == case
        }
    if outcome.settings.draft:
        assert outcome.model is not None
        support = require_annotations(outcome.scans.scans)
        drafts = fill_in_drafts(
            outcome.dataset,
            outcome.model,
            support_cases=support,
            suggestion=suggestion,
            label_files=files,
            folder=folder,
        )
        suggestion = replace(suggestion, drafts=drafts)
    representation = outcome.choice.representation
    start = None if representation is None else representation.curve[0]
    write_worklist(suggestion.slices, places, start, folder / WORKLIST)
    suggestion = replace(suggestion, image_checksums=checksums)
    write_suggestion(suggestion, folder)
    pictures = [(entry, thumbnails[entry.rank]) for entry in shown]
    write_overview(suggestion, pictures, choice=outcome.choice, notes=outcome.notes, file=folder / OVERVIEW)
    return suggestion


def _slices_to_show(suggestion: Suggestion) -> list[SuggestedSlice]:
    """All chosen slices; of whole scans the one in the middle."""
    if suggestion.unit == "slices":
        return list(suggestion.slices)
    by_case: dict[str, list[SuggestedSlice]] = {}
    for entry in suggestion.slices:
        by_case.setdefault(entry.case, []).append(entry)
    return [entries[len(entries) // 2] for entries in by_case.values()]


def _thumbnail(written: WrittenScan, axis: int, place: ViewerPlace | None, index: int) -> Thumbnail:
    rows, columns = np.delete(np.array(written.geometry.spacing), axis).tolist()
    plane = np.take(written.volume, index, axis=axis)
    return Thumbnail(upright(plane, axis, written.geometry.properties), (rows, columns), place)
