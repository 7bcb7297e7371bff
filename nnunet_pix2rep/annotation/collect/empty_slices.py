"""Slices in which nothing is drawn: forgotten, not done yet, or done and empty."""

from __future__ import annotations

from collections.abc import Collection
from typing import Literal

import numpy as np

from nnunet_pix2rep.annotation.collect.checked_labels import CheckedLabels
from nnunet_pix2rep.annotation.collect.labels.wording import join, join_runs

EmptySlices = Literal["refuse", "background", "later"]
"""What becomes of slices in which nothing is drawn: an error, labels without foreground, or not taken yet.

Whole scans differ, see :func:`~nnunet_pix2rep.annotation.collect.checks.check_labels`.
"""


def empty_among(planes: np.ndarray, ignored: np.ndarray, wanted: Collection[int]) -> list[int]:
    """The wanted slices without any foreground, apart from those that are ignore as a whole."""
    drawn = ((planes != 0) & ~ignored).any(axis=(1, 2))
    return [index for index in sorted(wanted) if not drawn[index] and not ignored[index].all()]


def problems_of_named(
    named: Collection[int], empty: Collection[int], wanted: Collection[int], kept: Collection[int], is_one_whole: bool
) -> list[str]:
    """What is wrong with slices that the user names as done and empty, a line for each kind.

    Args:
        named: The slices.
        empty: Those in which nothing is drawn.
        wanted: Those that were to be annotated.
        kept: Those for which the dataset's own labels stay.
        is_one_whole: Whether the scan can only be taken as a whole.
    """
    if named and is_one_whole:
        return [f"slice {join(named)}: without an ignore label a scan is taken as a whole. Name the case alone"]
    kinds = {
        "this slice was not to be annotated": [index for index in named if index not in wanted],
        "the dataset has newer labels of it. Leave it out here, or name it with --put-back too": kept,
        "something is drawn in it": [index for index in named if index in wanted and index not in {*empty, *kept}],
    }
    found = {reason: [index for index in indices if index in named] for reason, indices in kinds.items()}
    return [f"slice {join(found[reason])}: named as empty, but {reason}" for reason in found if found[reason]]


def sort_out_empty(
    result: CheckedLabels, empty: Collection[int], empty_slices: EmptySlices, done: Collection[int]
) -> list[int]:
    """Notes what becomes of empty slices, or what is wrong with them.

    Args:
        result: Where that is noted.
        empty: The slices, ascending.
        empty_slices: What becomes of them.
        done: Those that are background in any case.

    Returns:
        Those that are left for later.
    """
    background = [index for index in empty if empty_slices == "background" or index in done]
    if background:
        result.notes.append(f"slice {join_runs(background)}: nothing is drawn, taken as background")
    others = [index for index in empty if index not in background]
    if not others:
        return []
    found = f"slice {join_runs(others)}: nothing is drawn"
    if empty_slices == "later":
        result.notes.append(f"{found}, left for later")
        return others
    result.problems.append(
        f"{found}. If it is not done yet, collect the rest with --leave-empty; if there is nothing to draw, with "
        "--allow-empty, or for some slices --allow-empty CASE:SLICE"
    )
    return []
