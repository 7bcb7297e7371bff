"""Drawings that a dataset has had: none of them replaces newer labels, whatever folder it comes from.

Copies of a work folder have the same ``suggestion.json``, so what was last collected with it does not tell which
drawing is newer. That the dataset has had a drawing before does.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping

from nnunet_pix2rep.annotation.slices import SliceDigests
from nnunet_pix2rep.nnunet.data.annotation_record import AnnotationRound

Drawings = dict[str, set[str]]
"""Slice, as text -> digests of its drawings."""


def recorded_drawings(rounds: Iterable[AnnotationRound], case: str, axis: int) -> Drawings:
    """The drawings of a case that were collected from any folder, and those that they replaced.

    Args:
        rounds: All rounds.
        case: The case.
        axis: The axis that slices are counted along.
    """
    taken = (entry.cases[case] for entry in rounds if case in entry.cases)
    return unite(*(one.digests for one in taken if one.axis == axis))


def unite(*several: Drawings | SliceDigests) -> Drawings:
    """All drawings of several records or sets; in a record the digests of a slice are one text with spaces between."""
    united: defaultdict[str, set[str]] = defaultdict(set)
    for drawings in several:
        for index, digests in drawings.items():
            united[index].update(digests.split() if isinstance(digests, str) else digests)
    return dict(united)


def as_recorded(drawings: Mapping[str, Iterable[str]]) -> SliceDigests:
    """One text for each slice, as the record of earlier versions has a single digest there."""
    return {index: " ".join(sorted(digests)) for index, digests in drawings.items()}
