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
        represented: Share of scans, 0 to 1, of which at least half is as similar to an annotated or chosen slice as
            scans of different patients are to each other; None with a single patient.
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
    pixels = pool.features.shape[1]
    entries = references // pixels
    cases = [pool.cases[entry] for entry in entries.tolist()]
    patients = [pool.patients[entry] for entry in entries.tolist()]
    threshold = _similarity_between_patients(similarity, pool.patients, patients, weights)
    represented = None if threshold is None else _share_of_scans(covered >= threshold, weights, cases)
    return Representation(tuple(curve), len(order), bend_of(curve), represented)


def bend_of(curve: Sequence[float]) -> int:
    """The place of a rising curve that lies highest above the straight line between its ends (Satopaa et al. 2011)."""
    values = np.asarray(curve, dtype=float)
    line = np.linspace(values[0], values[-1], len(values))
    return int(np.argmax(values - line))


def _similarity_between_patients(
    similarity: torch.Tensor, patients: Sequence[str], patients_of_pixels: Sequence[str], weights: torch.Tensor
) -> float | None:
    """The weighted median, over pixels, of the similarity to the most similar pixel of another patient."""
    if len(set(patients)) < 2:
        return None
    nearest = torch.empty(similarity.shape[1])
    own_slices, own_pixels = np.asarray(patients), np.asarray(patients_of_pixels)
    for patient in sorted(set(patients_of_pixels)):
        pixels = torch.from_numpy(np.flatnonzero(own_pixels == patient))
        others = torch.from_numpy(np.flatnonzero(own_slices != patient))
        nearest[pixels] = similarity[:, pixels][others].amax(dim=0)
    order = nearest.argsort()
    total = weights[order].cumsum(dim=0)
    return float(nearest[order][int((total < total[-1] / 2).sum())])


def _share_of_scans(represented: torch.Tensor, weights: torch.Tensor, cases: Sequence[str]) -> float:
    names = sorted(set(cases))
    place = {name: number for number, name in enumerate(names)}
    numbers = torch.tensor([place[case] for case in cases])
    total = torch.zeros(len(names)).index_add_(0, numbers, weights)
    found = torch.zeros(len(names)).index_add_(0, numbers, weights * represented)
    return float((found >= total / 2).float().mean())
