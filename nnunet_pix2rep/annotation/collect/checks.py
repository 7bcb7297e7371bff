"""What is wrong with the labels of a case, and what becomes of them together with those that were there before."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from nnunet_pix2rep.annotation.collect.checked_labels import CheckedLabels
from nnunet_pix2rep.annotation.collect.empty_slices import (
    EmptySlices,
    empty_among,
    problems_of_named,
    sort_out_empty,
)
from nnunet_pix2rep.annotation.collect.labels.drawings import unite
from nnunet_pix2rep.annotation.collect.labels.wording import join, join_runs
from nnunet_pix2rep.annotation.slices import slice_digests
from nnunet_pix2rep.nnunet.data.sparse_labels import annotated_slices

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
    left_alone = {*known_before, *kept}
    extra = _check_outside(result, planes, old, shares, wanted=wanted, known_before=left_alone, changed=changed)
    _check_chosen(result, shares, wanted, was_chosen)
    whole_scan = whole_scan or len(wanted) == len(planes) > 1
    empty = empty_among(planes, ignored, wanted.difference(kept))
    is_one_whole = ignore_label is None and len(planes) > 1
    result.problems += problems_of_named(named_empty, empty, wanted, kept, is_one_whole)
    if whole_scan and len(empty) < len(wanted) and (empty_slices != "later" or ignore_label is None):
        empty_slices = "background"
    # an empty slice that the dataset has too was found to be done before
    unsettled = [index for index in empty if index in changed or index not in there]
    left = sort_out_empty(result, unsettled, empty_slices, named_empty)
    result.slices = sorted(wanted.difference(left) | extra)
    _take_slices(result, planes, new, there, changed)
    return result


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


def _check_outside(
    result: CheckedLabels,
    planes: np.ndarray,
    old: np.ndarray,
    shares: np.ndarray,
    wanted: set[int],
    known_before: set[int],
    changed: set[int],
) -> set[int]:
    """Slices that were not to be annotated and yet are: whole ones are taken, painted ones are a problem."""
    extra, painted = set(), {}
    for index in np.flatnonzero(shares < 1).tolist():
        if index in wanted or (index in known_before and np.array_equal(planes[index], old[index])):
            continue
        if shares[index] == 0:
            extra.add(index)
        elif not np.array_equal(planes[index], old[index]):
            painted[index] = round((1 - shares[index]) * planes[index].size)
    for index, count in painted.items():
        result.problems.append(
            f"slice {index}: {count} pixel(s) are drawn over the ignore label, and this slice was not to be annotated. "
            "Set them to ignore again, or annotate the whole slice"
        )
    if added := sorted(extra - changed):
        result.notes.append(f"slice {join(added)}: annotated though not chosen; taken too")
    return extra


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
