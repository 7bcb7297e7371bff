"""Annotation sets: which slices are annotated in the cells of a benchmark whose budget is counted in slices.

A set is one (selector, budget, draw). It is chosen among the slices of the patients outside the test set and serves all
methods. The draws of a selector differ

- by the seed of its random numbers, the same for all budgets of a draw;
- for selectors whose choice follows from the slices alone, nearly whatever the seed, also by the patients: each draw
  leaves out a part of them. Otherwise there would be one result, and no interval.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_pix2rep.annotation.selectors import FEATURE_SELECTORS, SELECTORS
from nnunet_pix2rep.benchmark.schema import SET_FILE
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json

DETERMINED_BY_THE_SLICES = ("middle", *FEATURE_SELECTORS)
PART_LEFT_OUT = 0.2
"""Of the patients, in each draw of a selector of ``DETERMINED_BY_THE_SLICES``."""
DEFAULT_SELECTORS = ("random_patients", "random", "one_per_patient")


@dataclass(frozen=True)
class AnnotationSet:
    """Slices that are annotated.

    Attributes:
        selector: Name of what chooses them.
        budget: How many.
        draw: Which of the draws, from 0.
        folder: Gets the record and the preprocessed dataset.
        checkpoint: Of the pretraining whose features the selector sees; None: it needs none.
    """

    selector: str
    budget: int
    draw: int
    folder: Path
    checkpoint: Path | None = None

    @property
    def preprocessed(self) -> Path:
        """``nnUNet_preprocessed`` of the trainings on this set."""
        return self.folder / "nnUNet_preprocessed"

    @property
    def record_file(self) -> Path:
        """Written when the set can be trained on."""
        return self.folder / SET_FILE

    @property
    def record(self) -> dict[str, Any] | None:
        """What was chosen; None: nothing yet."""
        return read_json(self.record_file) if self.record_file.is_file() else None


def check_selectors(names: Iterable[str]) -> tuple[str, ...]:
    """The names of selectors, each once.

    Raises:
        UserError: an unknown name.
    """
    names = tuple(dict.fromkeys(names))
    unknown = [name for name in names if name not in SELECTORS]
    if unknown or not names:
        raise UserError(f"--select must name some of {', '.join(SELECTORS)}, but names {', '.join(unknown) or 'none'}.")
    return names


def patients_left_out(patients: Iterable[str], selector: str, draw: int, seed: int) -> list[str]:
    """Patients who may not be annotated in a draw, sorted.

    Args:
        patients: All patients outside the test set.
        selector: What chooses.
        draw: Which draw; the same patients are left out for all selectors and budgets of a draw.
        seed: The benchmark's seed of draws.
    """
    if selector not in DETERMINED_BY_THE_SLICES:
        return []
    names = sorted(set(patients))
    number = min(len(names) - 1, max(1, round(PART_LEFT_OUT * len(names))))
    return sorted(np.random.default_rng([seed, draw]).permutation(names)[:number].tolist())
