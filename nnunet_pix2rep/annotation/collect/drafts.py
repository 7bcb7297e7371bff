"""Chosen slices that are still the drafts that ``suggest`` filled in: nobody may have looked at them."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from nnunet_pix2rep.annotation.collect.checked_labels import CheckedLabels
from nnunet_pix2rep.annotation.collect.labels.wording import join, join_runs
from nnunet_pix2rep.annotation.slices import SliceDigests, slice_digests


@dataclass(frozen=True)
class CaseDrafts:
    """The drafts of a case, and which of them the user has found to be right.

    Attributes:
        digests: Of the drafts, as ``suggest`` wrote them.
        right: Slices whose drafts are right.
        all_right: Whether all are.
    """

    digests: SliceDigests = field(default_factory=dict)
    right: Collection[int] = ()
    all_right: bool = False

    def unchanged_among(self, planes: np.ndarray, indices: Iterable[int]) -> list[int]:
        """The slices, of these, that are what their drafts were, ascending."""
        drafted = sorted(index for index in indices if str(index) in self.digests)
        now = slice_digests(planes, 0, drafted)
        return [index for index in drafted if now[str(index)] == self.digests[str(index)]]

    def right_among(self, unchanged: Iterable[int]) -> list[int]:
        """The slices, of these, that need no change."""
        return [index for index in unchanged if self.all_right or index in self.right]

    def problems_of_named(
        self, unchanged: Collection[int], wanted: Collection[int], kept: Collection[int]
    ) -> list[str]:
        """What is wrong with slices that the user names, a line for each kind.

        Args:
            unchanged: Slices that are still their drafts.
            wanted: Those that were to be annotated.
            kept: Those for which the dataset's own labels stay.
        """
        found: dict[str, list[int]] = {}
        for index in self.right:
            if index not in wanted:
                reason = "this slice was not to be annotated"
            elif index in kept:
                reason = "the dataset has newer labels of it. Leave it out here, or name it with --put-back too"
            elif str(index) not in self.digests:
                reason = "suggest has recorded no draft of it"
            elif index not in unchanged:
                reason = "it was changed since, so it is taken without being named"
            else:
                continue
            found.setdefault(reason, []).append(index)
        return [f"slice {join(indices)}: named as a right draft, but {reason}" for reason, indices in found.items()]

    def sort_out(self, result: CheckedLabels, unchanged: Collection[int], leave_others: bool) -> list[int]:
        """Notes what becomes of drafts that show something and are unchanged, or what is wrong with them.

        Args:
            result: Where that is noted.
            unchanged: The slices, ascending.
            leave_others: Whether those that are not known to be right are left for later; else they are a problem.

        Returns:
            Those that are left for later.
        """
        right = self.right_among(unchanged)
        if right:
            result.notes.append(f"slice {join_runs(right)}: the draft is taken as it was")
        others = [index for index in unchanged if index not in right]
        if not others:
            return []
        found = f"slice {join_runs(others)}: still the draft that suggest filled in"
        if leave_others:
            result.notes.append(f"{found}, left for later")
            return others
        result.problems.append(
            f"{found}. If nobody has corrected it yet, collect the rest with --leave-empty; if it is right as it is, "
            "with --accept-drafts, or for some slices --accept-drafts CASE:SLICE"
        )
        return []
