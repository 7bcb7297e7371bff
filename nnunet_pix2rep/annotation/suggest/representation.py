"""What a choice of slices represents of all scans: the figures of the overview and of the worklist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from nnunet_pix2rep.annotation.selectors import SlicePool
from nnunet_pix2rep.annotation.selectors.coverage import (
    coverage_curve,
    covered_by,
    draw_references,
    pick_greedily,
    slice_similarity,
)

FURTHER_SLICES = 3  # the curve goes on for so many times the budget
LEAST_FURTHER = 30


@dataclass(frozen=True)
class Representation:
    """How well slices represent the pixels of all scans.

    Attributes:
        curve: Coverage without a new slice, with the first one, and so on; the chosen ones, then those that would add
            most.
        chosen: How many of them are chosen.
        bend: Number of new slices from which on further ones add little.
        represented: Share of scans, 0 to 1, of which at least half of the pixels are represented; None with a single
            patient. A pixel is when the annotated and chosen slices come closer to the best match that other patients
            offer than to an average slice of theirs.
    """

    curve: tuple[float, ...]
    chosen: int
    bend: int
    represented: float | None


def represent(pool: SlicePool, order: Sequence[int], seed: int) -> Representation:
    """Measures a choice.

    Args:
        pool: With features.
        order: The chosen slices.
        seed: Of the pixels that are to be represented.
    """
    references, weights = draw_references(pool, torch.Generator().manual_seed(seed))
    similarity = slice_similarity(pool, references)
    done = pool.annotated.clone()
    done[list(order)] = True
    number = min(int((~done).sum()), max(LEAST_FURTHER, FURTHER_SLICES * len(order)))
    further = pick_greedily(replace(pool, annotated=done), number, similarity, weights) if number else []
    curve = coverage_curve(similarity, weights, pool.annotated, [*order, *further])
    covered = covered_by(similarity, done.nonzero().flatten())
    pixels = pool.require_features().shape[1]
    entries = references // pixels
    cases = [pool.cases[entry] for entry in entries.tolist()]
    patients = [pool.patients[entry] for entry in entries.tolist()]
    threshold = _half_way_to_the_best(similarity, pool.patients, patients)
    represented = None if threshold is None else _share_of_scans(covered >= threshold, weights, cases)
    return Representation(tuple(curve), len(order), bend_of(curve), represented)


def bend_of(curve: Sequence[float]) -> int:
    """The place of a rising curve that lies highest above the straight line between its ends (Satopaa et al. 2011)."""
    values = np.asarray(curve, dtype=float)
    line = np.linspace(values[0], values[-1], len(values))
    return int(np.argmax(values - line))


def _half_way_to_the_best(
    similarity: torch.Tensor, patients: Sequence[str], patients_of_pixels: Sequence[str]
) -> torch.Tensor | None:
    """Shape (R,): half way from a pixel's similarity to an average slice of other patients to that of the best one."""
    if len(set(patients)) < 2:
        return None
    threshold = torch.empty(similarity.shape[1])
    own_slices, own_pixels = np.asarray(patients), np.asarray(patients_of_pixels)
    for patient in sorted(set(patients_of_pixels)):
        pixels = torch.from_numpy(np.flatnonzero(own_pixels == patient))
        others = similarity[:, pixels][torch.from_numpy(own_slices != patient)]
        threshold[pixels] = (others.mean(dim=0) + others.amax(dim=0)) / 2
    return threshold


def _share_of_scans(represented: torch.Tensor, weights: torch.Tensor, cases: Sequence[str]) -> float:
    names = sorted(set(cases))
    place = {name: number for number, name in enumerate(names)}
    numbers = torch.tensor([place[case] for case in cases])
    total = torch.zeros(len(names)).index_add_(0, numbers, weights)
    found = torch.zeros(len(names)).index_add_(0, numbers, weights * represented)
    return float((found >= total / 2).float().mean())
