"""Slices that were not to be annotated, and that are not ignore in the label file all the same."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from nnunet_pix2rep.annotation.collect.checked_labels import CheckedLabels
from nnunet_pix2rep.annotation.collect.labels.wording import join, join_runs


def check_outside(
    result: CheckedLabels,
    planes: np.ndarray,
    old: np.ndarray,
    shares: np.ndarray,
    wanted: Collection[int],
    known_before: Collection[int],
) -> list[int]:
    """Finds those without any ignore, which count as annotated; ones that are painted in part are a problem.

    Args:
        result: Where problems are noted.
        planes: The slices of the label file.
        old: Those of the dataset.
        shares: How much of each slice is ignore.
        wanted: Slices that were to be annotated.
        known_before: Slices that were annotated when the label file was made; they count where they were changed.

    Returns:
        The slices, ascending.
    """
    extra = []
    for index in np.flatnonzero(shares < 1).tolist():
        is_same = np.array_equal(planes[index], old[index])
        if index in wanted or (index in known_before and is_same):
            continue
        if shares[index] == 0:
            extra.append(index)
        elif not is_same:
            count = round((1 - shares[index]) * planes[index].size)
            result.problems.append(
                f"slice {index}: {count} pixel(s) are drawn over the ignore label, and this slice was not to be "
                "annotated. Set them to ignore again, or annotate the whole slice"
            )
    return extra


def blank_among(extra: Collection[int], planes: np.ndarray, old: np.ndarray, ignore_label: int | None) -> list[int]:
    """Those of such slices in which nobody has drawn: no foreground, or the dataset's with background for ignore."""
    unignored = (((planes[i] == old[i]) | ((planes[i] == 0) & (old[i] == ignore_label))).all() for i in extra)
    return [index for index, is_old in zip(extra, unignored, strict=True) if is_old or not planes[index].any()]


def cause_of_blank(labels: np.ndarray, ignore_label: int | None) -> str:
    """A question that says what has probably happened: a viewer that loses the ignore label makes background of it."""
    if (labels == ignore_label).any():
        return f"Was the ignore label ({ignore_label}), or a drawing, erased there?"
    return f"No pixel of the file is ignore ({ignore_label}): was that label lost on export?"


def sort_out_outside(
    result: CheckedLabels,
    drawn: Collection[int],
    blank: Collection[int],
    *,
    done: Collection[int],
    leave_others: bool,
    cause: str,
) -> list[int]:
    """Notes what becomes of such slices, or what is wrong with them.

    Args:
        result: Where that is noted.
        drawn: Those that are new, and annotated.
        blank: Those in which nobody has drawn, ascending.
        done: Those of them that are known to be done and empty.
        leave_others: Whether the others are left as the dataset has them; else they are a problem.
        cause: See :func:`cause_of_blank`.

    Returns:
        Those that are left.
    """
    if drawn:
        result.notes.append(f"slice {join(drawn)}: annotated though not chosen; taken too")
    if background := [index for index in blank if index in done]:
        result.notes.append(f"slice {join_runs(background)}: not chosen and nothing is drawn, taken as background")
    others = [index for index in blank if index not in done]
    if not others:
        return []
    found = f"slice {join_runs(others)}: not chosen, nothing is drawn, and yet not ignore"
    if leave_others:
        result.notes.append(f"{found}; left as it was before")
        return others
    result.problems.append(
        f"{found}. {cause} Export it again with all labels, or collect with --leave-empty, which takes nothing from "
        "such slices; if they are done and show nothing, name them: --allow-empty CASE or CASE:SLICE"
    )
    return []
