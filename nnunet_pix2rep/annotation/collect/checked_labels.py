"""What the checks of a case find."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from nnunet_pix2rep.annotation.collect.labels.drawings import Drawings


@dataclass
class CheckedLabels:
    """The labels of a case after their checks.

    Attributes:
        labels: Shape (Z, Y, X), integers: the new slices in what was annotated before.
        axis: Which of its axes slices are counted along.
        slices: The slices that are taken from the label file.
        drawings: Of each of these slices the drawing that the dataset gets, and the one that it had.
        problems: What is wrong; any makes the labels unusable.
        notes: What the user should know.
    """

    labels: np.ndarray
    axis: int
    slices: list[int] = field(default_factory=list)
    drawings: Drawings = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
