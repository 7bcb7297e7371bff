"""What is wrong with the labels of a case, and what becomes of them together with those that were there before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunet_pix2rep.annotation.collect.checked_labels import CheckedLabels
from nnunet_pix2rep.annotation.collect.drafts import CaseDrafts
from nnunet_pix2rep.annotation.collect.empty_slices import (
    EmptySlices,
    empty_among,
    problems_of_named,
    sort_out_empty,
)
from nnunet_pix2rep.annotation.collect.labels.drawings import unite
from nnunet_pix2rep.annotation.collect.labels.wording import join, join_runs
from nnunet_pix2rep.annotation.collect.outside import (
    blank_among,
    cause_of_blank,
    check_outside,
    sort_out_outside,
)
from nnunet_pix2rep.annotation.slices import slice_digests
from nnunet_pix2rep.nnunet.data.sparse_labels import annotated_slices

NO_DRAFTS = CaseDrafts()
MOST_VALUES = 3  # that the dataset does not have, each in a line of its own


def known_values(labels: dict[str, Any]) -> set[int]:
    """All integers of the labels of dataset.json, those of regions and of ignore among them."""
    lists = (entry if isinstance(entry, (list, tuple)) else [entry] for entry in labels.values())
    return {int(value) for values in lists for value in values}


def check_labels(
    labels: np.ndarray,
    axis: int,
    known: Collection[int],
    ignore_label: int | None,
    *,
    before: np.ndarray | None = None,
    chosen: Collection[int] | None = None,
    known_before: Collection[int] = (),
    earlier: Mapping[str, Collection[str]] | None = None,
    whole_scan: bool = False,
    empty_slices: EmptySlices = "refuse",
    named_empty: Collection[int] = (),
    all_named_empty: bool = False,
    drafts: CaseDrafts = NO_DRAFTS,
) -> CheckedLabels:
    """Checks the labels of a case slice by slice and merges them into what was there before.

    In a whole scan many slices show no structure. Once anything is drawn in it, its empty slices are background, unless
    they are to be left for later. Without an ignore label nothing could stand in their place, so that such a scan is
    left as a whole while nothing is drawn in it, and then taken as a whole.

    Args:
        labels: From the label file, shape (Z, Y, X).
        axis: Which of its axes slices are counted along.
        known: The values that the dataset has.
        ignore_label: nnU-Net's; None: the dataset has none.
        before: The labels that the dataset has of this case, same shape; None: none.
        chosen: The slices that were to be annotated; None: those that are not all ignore.
        known_before: Slices that were annotated when the label file was made.
        earlier: Slice, as text -> digests of drawings that were copied from the dataset or that it has had, and of a
            slice not drawn in yet. Where the label file has one of them while the dataset has another annotation, the
            dataset's is newer and stays.
        whole_scan: Whether the chosen slices are all that was left of the scan, so that some may show no structure.
        empty_slices: What becomes of slices without any foreground.
        named_empty: Slices that are known to be done without any foreground: background, whatever becomes of others.
        all_named_empty: Whether all slices without any foreground are known to be so, also those that were not chosen.
        drafts: What was filled in to be corrected: a slice that is still as it was is not done, unless it is right.
    """
    merged = before.copy() if before is not None else np.full_like(labels, 0 if ignore_label is None else ignore_label)
    result = CheckedLabels(merged, axis)
    planes, old, new = (np.moveaxis(array, axis, 0) for array in (labels, merged, merged))
    result.problems += _unknown_values(planes, known)
    if chosen is None or ignore_label is None:  # without an ignore label a scan is one whole
        wanted, was_chosen = set(annotated_slices(labels, axis, ignore_label)), False
    else:
        wanted, was_chosen = set(chosen), True
    if beyond := sorted(index for index in wanted if index >= len(planes)):
        result.problems.append(f"slice {join(beyond)}: the image has only {len(planes)} slices along this axis")
        return result
    there = annotated_slices(old, 0, ignore_label) if before is not None else []
    kept = _kept_slices(result, planes, old, there, earlier or {})
    planes = planes.copy()
    planes[kept] = old[kept]
    changed = {index for index in there if not np.array_equal(planes[index], old[index])}
    ignored = planes == ignore_label if ignore_label is not None else np.zeros_like(planes, dtype=bool)
    shares = ignored.mean(axis=(1, 2))
    if not was_chosen and before is not None:  # few annotated pixels that were there before are left as they are
        wanted -= {index for index in wanted if shares[index] > 0.5 and np.array_equal(planes[index], old[index])}
    extra = check_outside(result, planes, old, shares, wanted=wanted, known_before={*known_before, *kept})
    _check_chosen(result, shares, wanted, was_chosen)
    found = _Found(
        wanted=wanted,
        extra=[index for index in extra if index not in changed],
        settled={index for index in there if index not in changed},
        empty=empty_among(planes, ignored, wanted.difference(kept)),
        unchanged=drafts.unchanged_among(planes, wanted.difference(kept)),
        blank=blank_among(extra, planes, old, ignore_label),
        cause=cause_of_blank(labels, ignore_label),
    )
    undrawn, to_take = [*found.empty, *found.blank], wanted.union(extra)
    is_one_whole = ignore_label is None and len(planes) > 1
    result.problems += problems_of_named(named_empty, undrawn, to_take, kept, is_one_whole)
    result.problems += drafts.problems_of_named(found.unchanged, wanted, kept)
    is_whole = (whole_scan or len(wanted) == len(planes) > 1) and (empty_slices != "later" or ignore_label is None)
    left = _sort_out(result, found, is_whole, empty_slices, undrawn if all_named_empty else named_empty, drafts)
    result.slices = sorted(to_take.difference(left))
    _take_slices(result, planes, new, there, changed)
    return result


@dataclass(frozen=True)
class _Found:
    """Slices by what they look like.

    Attributes:
        wanted: Those that were to be annotated.
        extra: Others that are annotated and that the dataset has not had with other labels.
        settled: Those that are as the dataset has them: found to be done before, whatever they look like.
        empty: Wanted ones in which nothing is drawn.
        unchanged: Wanted ones that are still drafts.
        blank: Others that are annotated, and yet nothing is drawn.
        cause: Why that may be.
    """

    wanted: Collection[int]
    extra: Collection[int]
    settled: Collection[int]
    empty: list[int]
    unchanged: list[int]
    blank: list[int]
    cause: str


def _sort_out(
    result: CheckedLabels,
    found: _Found,
    is_whole: bool,
    empty_slices: EmptySlices,
    named: Collection[int],
    drafts: CaseDrafts,
) -> list[int]:
    """Notes what becomes of slices that do not look done, or what is wrong with them.

    Returns:
        Those that are left for later.
    """
    later = empty_slices == "later"
    empty, unchanged, blank = (
        [index for index in indices if index not in found.settled]
        for indices in (found.empty, found.unchanged, found.blank)
    )
    right = drafts.right_among(unchanged)
    drawn = [index for index in found.extra if index not in blank]
    left = sort_out_outside(result, drawn, blank, done=named, leave_others=later, cause=found.cause)
    left += drafts.sort_out(result, [index for index in unchanged if index not in empty], leave_others=later)
    undone = {*found.empty, *unchanged}.difference(index for index in right if index not in empty)
    becomes: EmptySlices = "background" if is_whole and len(undone) < len(found.wanted) else empty_slices
    return left + sort_out_empty(result, empty, becomes, {*named, *right})


def _take_slices(
    result: CheckedLabels, planes: np.ndarray, merged: np.ndarray, there: Collection[int], changed: Collection[int]
) -> None:
    """Puts the slices into what the dataset has, and names those that replace another annotation."""
    if replaced := [index for index in result.slices if index in changed]:
        result.notes.append(f"slice {join_runs(replaced)}: annotated before and changed now; the new labels are taken")
    had = [index for index in result.slices if index in there]
    result.drawings = unite(slice_digests(merged, 0, had), slice_digests(planes, 0, result.slices))
    merged[result.slices] = planes[result.slices]


def _unknown_values(planes: np.ndarray, known: Collection[int]) -> list[str]:
    """A line for each value that the dataset does not have; one for all of them where an image or colors are meant."""
    unknown = [int(value) for value in np.unique(planes) if int(value) not in known]
    places = {value: np.flatnonzero((planes == value).any(axis=(1, 2))).tolist() for value in unknown}
    rule = f"the dataset's {join(known)}. Each pixel must hold the number that dataset.json gives its label"
    if len(places) <= MOST_VALUES:
        return [f"slice {join(slices)}: the value {value} is not one of {rule}" for value, slices in places.items()]
    first = join(sorted(places)[:MOST_VALUES])
    slices = {index for indices in places.values() for index in indices}
    return [
        f"slice {join(slices)}: the values {first} and {len(places) - MOST_VALUES} more are none of {rule}. So many "
        "values are of an image, of gray tones or of blurred edges, not of labels"
    ]


def _kept_slices(
    result: CheckedLabels,
    planes: np.ndarray,
    old: np.ndarray,
    there: Collection[int],
    earlier: Mapping[str, Collection[str]],
) -> list[int]:
    """Slices of which the label file has nothing new, while the dataset has another annotation."""
    differing = [index for index in there if not np.array_equal(planes[index], old[index])]
    now = slice_digests(planes, 0, differing)
    kept = [index for index in differing if now[str(index)] in earlier.get(str(index), ())]
    if kept:
        result.notes.append(
            f"slice {join_runs(kept)}: nothing new here, while the dataset has newer labels; those are kept. "
            "--put-back CASE:SLICE takes it all the same"
        )
    return kept


def _check_chosen(result: CheckedLabels, shares: np.ndarray, wanted: set[int], was_chosen: bool) -> None:
    """Chosen slices may keep some ignore, where the annotator is not sure, but not be all ignore."""
    erased = [index for index in sorted(wanted) if shares[index] == 1]
    if erased:
        result.problems.append(f"slice {join(erased)}: all of it is ignore, so nothing is annotated")
    partly = [index for index in sorted(wanted) if 0 < shares[index] < 1]
    painted = [index for index in partly if not was_chosen and shares[index] > 0.5]
    for index in painted:
        result.problems.append(
            f"slice {index}: {1 - shares[index]:.0%} of it are annotated and the rest is ignore. Set all of it to "
            "ignore, or annotate the whole slice"
        )
    if left := [index for index in partly if index not in painted]:
        result.notes.append(f"slice {join(left)}: some pixels stay ignore")
