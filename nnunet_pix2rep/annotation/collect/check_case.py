"""Checks of one case: its label file together with all that is known of the case."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnunet_pix2rep.annotation.collect.checked_labels import CheckedLabels
from nnunet_pix2rep.annotation.collect.checks import check_labels, known_values
from nnunet_pix2rep.annotation.collect.dataset import RawDataset
from nnunet_pix2rep.annotation.collect.drafts import CaseDrafts
from nnunet_pix2rep.annotation.collect.empty_slices import EmptySlices
from nnunet_pix2rep.annotation.collect.labels.drawings import Drawings, recorded_drawings, unite
from nnunet_pix2rep.annotation.collect.labels.grid import LabelsOnGrid, check_range, read_labels_on_grid
from nnunet_pix2rep.annotation.collect.labels.named_slices import NamedSlices
from nnunet_pix2rep.annotation.collect.labels.segments import check_segment_names
from nnunet_pix2rep.annotation.collect.labels.wording import join
from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.annotation.slices import slice_digests
from nnunet_pix2rep.annotation.work_folder import Suggestion, slices_by_case
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.annotation_record import AnnotationRound
from nnunet_pix2rep.nnunet.data.sparse_labels import annotated_slices, find_axis


@dataclass(frozen=True)
class CaseChecks:
    """What the checks of all cases of a folder have in common.

    Attributes:
        dataset: The dataset.
        suggestion: What was to be annotated; None: it is not known.
        rounds: What was collected before.
        reader: Of the dataset.
        empty_slices: What becomes of slices without any foreground.
        named_empty: Slices that are done without any foreground.
        all_drafts_right: Whether slices that are still their drafts are done.
        right_drafts: Slices that are done though they are still their drafts.
        put_back: Slices whose drawing is taken also where the dataset has newer labels.
    """

    dataset: RawDataset
    suggestion: Suggestion | None
    rounds: Sequence[AnnotationRound]
    reader: LabelFiles
    empty_slices: EmptySlices
    named_empty: NamedSlices
    all_drafts_right: bool
    right_drafts: NamedSlices
    put_back: NamedSlices

    def check(self, case: str, file: Path, before: np.ndarray | None) -> CheckedLabels:
        """Reads a label file and checks it.

        Args:
            case: The case.
            file: Its label file.
            before: The labels that the dataset has of it; None: none.

        Raises:
            UserError: the file cannot be read, or is not on the grid of the image.
        """
        dataset, suggestion = self.dataset, self.suggestion
        read = self._read(case, file, before)
        labels = read.labels.astype(np.int16)
        axis, chosen = self._axis_of(case, labels), None
        if suggestion is not None:
            chosen = suggestion.chosen()[case]
            known_before = slices_by_case(suggestion.annotated_before).get(case, [])
        else:
            known_before = annotated_slices(before, axis, dataset.ignore_label) if before is not None else []
        checked = check_labels(
            labels,
            axis,
            known_values(dataset.dataset_json["labels"]),
            dataset.ignore_label,
            before=before,
            chosen=chosen,
            known_before=known_before,
            earlier=self._earlier_drawings(case, labels, axis, known_before),
            whole_scan=suggestion is not None and suggestion.unit == "cases",
            empty_slices=self.empty_slices,
            named_empty=self.named_empty.of(case),
            all_named_empty=case in self.named_empty.whole,
            drafts=self._drafts_of(case),
        )
        checked.notes += read.notes
        number = labels.shape[axis]
        if beyond := sorted(index for index in self.put_back.of(case) if index >= number):
            checked.problems.append(
                f"slice {join(beyond)}: named by --put-back, but the image has only {number} slices"
            )
        return checked

    def _read(self, case: str, file: Path, before: np.ndarray | None) -> LabelsOnGrid:
        read = read_labels_on_grid(file, self.dataset.images[case], self.reader)
        check_segment_names(file, self.dataset.dataset_json["labels"], read.labels)
        if before is not None and before.shape != read.labels.shape:
            raise UserError(f"the labels in {self.dataset.label_file(case)} are of another size")
        return read

    def _drafts_of(self, case: str) -> CaseDrafts:
        digests = self.suggestion.drafts.get(case, {}) if self.suggestion is not None else {}
        all_right = self.all_drafts_right or case in self.right_drafts.whole
        return CaseDrafts(digests, self.right_drafts.of(case), all_right)

    def _axis_of(self, case: str, labels: np.ndarray) -> int:
        if self.suggestion is not None:
            return self.suggestion.axes[case]
        recorded = axes_of(self.rounds)
        if case in recorded:
            return recorded[case]
        spacing = self.reader.geometry(self.dataset.images[case]).spacing
        return find_axis(labels, self.dataset.ignore_label, spacing)

    def _earlier_drawings(self, case: str, labels: np.ndarray, axis: int, known_before: Collection[int]) -> Drawings:
        """Drawings that newer labels of the dataset are not replaced by: see :func:`check_labels`."""
        if case in self.put_back.whole:
            return {}
        found = recorded_drawings(self.rounds, case, axis)
        if self.suggestion is not None:
            # as suggest wrote the chosen ones, and as a viewer that loses the ignore label makes others
            (blank,) = slice_digests(np.zeros_like(labels), axis, [0]).values()
            undrawn = {str(index): blank for index in range(labels.shape[axis]) if index not in known_before}
            written = (record.get(case, {}) for record in (self.suggestion.copied_slices, self.suggestion.drafts))
            found = unite(found, undrawn, *written)
        wanted_back = {str(index) for index in self.put_back.of(case)}
        return {index: digests for index, digests in found.items() if index not in wanted_back}


def axes_of(rounds: Iterable[AnnotationRound]) -> dict[str, int]:
    """Case -> axis of the slices that were collected."""
    return {case: taken.axis for entry in rounds for case, taken in entry.cases.items()}


def labels_before(dataset: RawDataset, case: str, reader: LabelFiles) -> np.ndarray | None:
    """The labels that the dataset has of a case, None where it has none.

    Raises:
        UserError: the file is damaged, or has values that are no labels.
    """
    file = dataset.label_file(case)
    if not file.is_file():
        return None
    labels = reader.read(file).labels
    check_range(labels, str(file))
    return labels.astype(np.int16)
