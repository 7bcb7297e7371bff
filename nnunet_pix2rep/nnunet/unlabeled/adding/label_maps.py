"""Telling scans from label maps and blank images, so that no mask joins a pretraining as a patient of its own."""

from __future__ import annotations

import fnmatch
import itertools
import re
from collections.abc import Callable, Iterable, Sequence

import numpy as np

FEW_VALUES = 32
FEW_VALUES_BY_NAME = 128  # maps of the whole body have a hundred labels
SAMPLE = 100_000
LABEL_WORDS = "seg segmentation label labelmap mask gt groundtruth ground_truth truth annotation roi contour"
LABEL_NAME = re.compile(rf"(?<![a-z])({LABEL_WORDS.replace(' ', '|')})s?(tr|ts)?(?![a-z])", re.IGNORECASE)
FORCE = "--keep takes it anyway"


def why_no_scan(
    values: np.ndarray, name: str, neighbors: Iterable[tuple[str, Callable[[], np.ndarray | None]]]
) -> str | None:
    """Why an image is taken for a blank image or a label map; None: it is a scan.

    A label map has few values, all of them whole numbers, and either a name that says so or a neighbor on the same
    grid that has many values.

    Args:
        values: Values of the image, any shape.
        name: Its path or case name.
        neighbors: Name and values of images that may be its scan; the values, or None for another grid, are asked for
            only where they decide.
    """
    number = number_of_labels(values, FEW_VALUES_BY_NAME)
    if number is None:
        return f"all its voxels are {values.flat[0]:g}; {FORCE}" if _is_constant(values) else None
    if number == 1:
        return f"all its voxels are {values.flat[0]:g}; {FORCE}"
    found = f"it looks like a label map: {number} values, all of them whole numbers"
    if LABEL_NAME.search(name):
        return f"{found}, and its name says so; {FORCE}"
    if number <= FEW_VALUES:
        for neighbor, read in neighbors:
            others = read()
            if others is not None and number_of_labels(others, FEW_VALUES) is None and not _is_constant(others):
                return f"{found}, on the grid of {neighbor}; {FORCE}"
    return None


def number_of_labels(values: np.ndarray, most: int) -> int | None:
    """Number of different values where they are whole numbers and at most ``most``; else None."""
    flat = values.reshape(-1)
    sample = np.unique(flat[:: max(1, flat.size // SAMPLE)])
    if len(sample) > most or not np.isfinite(sample).all() or (sample != np.rint(sample)).any():
        return None
    different = np.unique(flat)
    return len(different) if len(different) <= most and (different == np.rint(different)).all() else None


def is_kept(patterns: Sequence[str], *names: str) -> bool:
    """Whether one of the names matches one of the user's patterns, with ``*`` and ``?`` as in a shell."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns for name in names)


def likely_neighbors(case: str, cases: Iterable[str], limit: int = 3) -> list[str]:
    """The cases whose names begin most like the given one's, such as ``p1_image`` for ``p1_segmentation``."""
    shared = {other: _length_of_common_start(case, other) for other in cases if other != case}
    return sorted((other for other in shared if shared[other]), key=lambda other: (-shared[other], other))[:limit]


def remark_on_values(values: np.ndarray) -> str | None:
    """What to say about an image that may be a label map but has neither name nor neighbor to prove it."""
    number = number_of_labels(values, FEW_VALUES)
    return None if number is None else f"only {number} values, all of them whole numbers: is it a label map?"


def _length_of_common_start(first: str, second: str) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False)))


def _is_constant(values: np.ndarray) -> bool:
    return bool((values == values.flat[0]).all())
