"""What is wrong with the labels of a case, and what becomes of them together with those that were there before."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from nnunet_pix2rep.annotation.slices import SliceDigests, slice_digests
from nnunet_pix2rep.nnunet.data.sparse_labels import annotated_slices

MOST_VALUES = 3  # that the dataset does not have, each in a line of its own

EmptySlices = Literal["refuse", "background", "later"]
"""What becomes of slices in which nothing is drawn: an error, labels without foreground, or not taken yet.

Whole scans differ, see :func:`check_labels`.
"""


@dataclass
class CheckedLabels:
    """The labels of a case after their checks.

    Attributes:
        labels: Shape (Z, Y, X), integers: the new slices in what was annotated before.
        axis: Which of its axes slices are counted along.
        slices: The slices that are taken from the label file.
        digests: Of each of these slices as it is in the label file.
        problems: What is wrong; any makes the labels unusable.
        notes: What the user should know.
    """

    labels: np.ndarray
    axis: int
    slices: list[int] = field(default_factory=list)
    digests: SliceDigests = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


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
    digests: SliceDigests | None = None,
    whole_scan: bool = False,
    empty_slices: EmptySlices = "refuse",
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
        digests: Of slices of the label file as they were copied from the dataset or last taken from the file. Where a
            slice is still like that while the dataset has another annotation of it, the dataset's is newer and stays.
        whole_scan: Whether the chosen slices are all that was left of the scan, so that some may show no structure.
        empty_slices: What becomes of slices without any foreground.
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
        result.problems.append(f"slice {_join(beyond)}: the image has only {len(planes)} slices along this axis")
        return result
    in_file, kept = planes, []
    if before is not None and (kept := _kept_slices(result, planes, old, digests or {}, ignore_label)):
        planes = planes.copy()
        planes[kept] = old[kept]
    ignored = planes == ignore_label if ignore_label is not None else np.zeros_like(planes, dtype=bool)
    shares = ignored.mean(axis=(1, 2))
    if not was_chosen and before is not None:  # few annotated pixels that were there before are left as they are
        wanted -= {index for index in wanted if shares[index] > 0.5 and np.array_equal(planes[index], old[index])}
    left_alone = {*known_before, *kept}
    extra = _check_outside(result, planes, old=old, shares=shares, wanted=wanted, known_before=left_alone)
    _check_chosen(result, shares, wanted, was_chosen)
    whole_scan = whole_scan or len(wanted) == len(planes) > 1
    empty = _empty_slices(planes, ignored, wanted.difference(kept))
    if whole_scan and len(empty) < len(wanted) and (empty_slices != "later" or ignore_label is None):
        empty_slices = "background"
    _check_empty(result, empty, empty_slices)
    wanted -= set(empty) if empty_slices == "later" else set()
    result.slices = sorted(wanted | extra)
    result.digests = slice_digests(in_file, 0, result.slices)
    for index in result.slices:
        new[index] = planes[index]
    return result


def _unknown_values(planes: np.ndarray, known: Collection[int]) -> list[str]:
    """A line for each value that the dataset does not have; one for all of them where an image or colors are meant."""
    unknown = [int(value) for value in np.unique(planes) if int(value) not in known]
    places = {value: np.flatnonzero((planes == value).any(axis=(1, 2))).tolist() for value in unknown}
    rule = f"the dataset's {_join(known)}. Each pixel must hold the number that dataset.json gives its label"
    if len(places) <= MOST_VALUES:
        return [f"slice {_join(slices)}: the value {value} is not one of {rule}" for value, slices in places.items()]
    first = _join(sorted(places)[:MOST_VALUES])
    slices = {index for indices in places.values() for index in indices}
    return [
        f"slice {_join(slices)}: the values {first} and {len(places) - MOST_VALUES} more are none of {rule}. So many "
        "values are of an image, of gray tones or of blurred edges, not of labels"
    ]


def _kept_slices(
    result: CheckedLabels, planes: np.ndarray, old: np.ndarray, digests: SliceDigests, ignore_label: int | None
) -> list[int]:
    """Slices that nobody has changed in the label file, but somebody has in the dataset since."""
    there = [index for index in annotated_slices(old, 0, ignore_label) if str(index) in digests]
    now = slice_digests(planes, 0, there)
    unchanged = [index for index in there if now[str(index)] == digests[str(index)]]
    kept = [index for index in unchanged if not np.array_equal(planes[index], old[index])]
    if kept:
        result.notes.append(f"slice {_join(kept)}: unchanged here, while the dataset has newer labels; those are kept")
    return kept


def _check_outside(
    result: CheckedLabels,
    planes: np.ndarray,
    old: np.ndarray,
    shares: np.ndarray,
    wanted: set[int],
    known_before: set[int],
) -> set[int]:
    """Slices that were not to be annotated and yet are: whole ones are taken, painted ones are a problem."""
    extra, painted, changed = set(), {}, []
    for index in np.flatnonzero(shares < 1).tolist():
        if index in wanted or (index in known_before and np.array_equal(planes[index], old[index])):
            continue
        if shares[index] == 0:
            extra.add(index)
            changed += [index] if index in known_before else []
        elif not np.array_equal(planes[index], old[index]):
            painted[index] = round((1 - shares[index]) * planes[index].size)
    for index, count in painted.items():
        result.problems.append(
            f"slice {index}: {count} pixel(s) are drawn over the ignore label, and this slice was not to be annotated. "
            "Set them to ignore again, or annotate the whole slice"
        )
    if added := sorted(extra - set(changed)):
        result.notes.append(f"slice {_join(added)}: annotated though not chosen; taken too")
    if changed:
        result.notes.append(f"slice {_join(changed)}: annotated before and changed now; the new labels are taken")
    return extra


def _check_chosen(result: CheckedLabels, shares: np.ndarray, wanted: set[int], was_chosen: bool) -> None:
    """Chosen slices may keep some ignore, where the annotator is not sure, but not be all ignore."""
    erased = [index for index in sorted(wanted) if shares[index] == 1]
    if erased:
        result.problems.append(f"slice {_join(erased)}: all of it is ignore, so nothing is annotated")
    partly = [index for index in sorted(wanted) if 0 < shares[index] < 1]
    painted = [index for index in partly if not was_chosen and shares[index] > 0.5]
    for index in painted:
        result.problems.append(
            f"slice {index}: {1 - shares[index]:.0%} of it are annotated and the rest is ignore. Set all of it to "
            "ignore, or annotate the whole slice"
        )
    if left := [index for index in partly if index not in painted]:
        result.notes.append(f"slice {_join(left)}: some pixels stay ignore")


def _empty_slices(planes: np.ndarray, ignored: np.ndarray, wanted: set[int]) -> list[int]:
    """The wanted slices without any foreground, apart from those that are ignore as a whole."""
    drawn = ((planes != 0) & ~ignored).any(axis=(1, 2))
    return [index for index in sorted(wanted) if not drawn[index] and not ignored[index].all()]


def _check_empty(result: CheckedLabels, empty: Sequence[int], empty_slices: EmptySlices) -> None:
    if not empty:
        return
    found = f"slice {_join_runs(empty)}: nothing is drawn"
    if empty_slices == "refuse":
        result.problems.append(
            f"{found}. If it is not done yet, collect the rest with --leave-empty; if there is nothing to draw, with "
            "--allow-empty"
        )
    elif empty_slices == "later":
        result.notes.append(f"{found}, left for later")
    else:
        result.notes.append(f"{found}, taken as background")


def _join(values: Iterable[int]) -> str:
    return ", ".join(str(value) for value in sorted(values))


def _join_runs(indices: Sequence[int]) -> str:
    """As :func:`_join`, with three or more in a row as "3 to 7": of a whole scan there may be hundreds."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else _join(run) for run in runs)
