"""Coverage of the pixels of all scans by the pixels of chosen slices: greedy facility location.

A pixel is represented as well as its most similar pixel in a chosen slice; the value of a choice is the weighted mean
over reference pixels, which are drawn from all scans. Taking the slice that adds most, again and again, comes to at
least 63 % of the best value that there is (Nemhauser et al. 1978). ProbCover (Yehuda et al. 2022, arXiv 2205.11320)
does this with whole images and a threshold.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nnunet_pix2rep.annotation.selectors.pool import PatientRounds, SlicePool, free_slices

REFERENCE_PIXELS = 4096
SIMILARITIES_AT_ONCE = 2**25  # of float32: 128 MB
SLICES_AT_ONCE = 64  # whose gains are recomputed at once


def select_coverage(pool: SlicePool, budget: int, generator: torch.Generator) -> list[int]:
    """The slice that adds most to the coverage, then the next; annotated slices count as chosen."""
    free_slices(pool, budget)  # refuses before anything is computed
    references, weights = draw_references(pool, generator)
    return pick_greedily(pool, budget, slice_similarity(pool, references), weights)


def pick_greedily(pool: SlicePool, budget: int, similarity: torch.Tensor, weights: torch.Tensor) -> list[int]:
    """Indices of free slices, always the one that adds most.

    Args:
        pool: The slices.
        budget: How many.
        similarity: See :func:`slice_similarity`.
        weights: Of the reference pixels.

    Raises:
        UserError: the pool has fewer free slices.
    """
    remaining = set(free_slices(pool, budget).tolist())
    covered = covered_by(similarity, pool.annotated.nonzero().flatten())
    rounds = PatientRounds(pool)
    bounds = torch.full((len(pool),), torch.inf)
    chosen: list[int] = []
    for _ in range(budget):
        allowed = torch.tensor(rounds.allowed(sorted(remaining)))
        best = _best_gain(similarity, covered, weights=weights, bounds=bounds, allowed=allowed)
        covered = torch.maximum(covered, similarity[best])
        chosen.append(best)
        remaining.remove(best)
        rounds.take(best)
    return chosen


def draw_references(pool: SlicePool, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draws the pixels that are to be represented; every patient has the same share.

    Returns:
        Places in the flattened (N, P) pixels, shape (R,), R at most 4,096, and what each counts, shape (R,), with the
        sum 1. Up to that number all pixels are taken with their weights; of more, some are drawn in proportion to
        their weights, at even steps through the sum of weights, and count the same.
    """
    weights = pool.pixel_weights().flatten()
    if len(weights) <= REFERENCE_PIXELS:
        return torch.arange(len(weights)), weights / weights.sum()
    total = weights.cumsum(dim=0, dtype=torch.float64)
    start = torch.rand(1, generator=generator, dtype=torch.float64)
    steps = torch.arange(REFERENCE_PIXELS, dtype=torch.float64) + start
    places = torch.searchsorted(total, steps / REFERENCE_PIXELS * total[-1], right=True)
    return places.clamp(max=len(weights) - 1), torch.full((REFERENCE_PIXELS,), 1 / REFERENCE_PIXELS)


def slice_similarity(pool: SlicePool, references: torch.Tensor) -> torch.Tensor:
    """Shape (N, R): the cosine, at least 0, of each reference pixel with the pixel of each slice most like it."""
    features = pool.require_features()
    wanted = features.flatten(0, 1)[references].T
    chunk = max(1, SIMILARITIES_AT_ONCE // (features.shape[1] * wanted.shape[1]))
    return torch.cat([(part @ wanted).amax(dim=1).clamp(min=0) for part in features.split(chunk)])


def covered_by(similarity: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
    """Shape (R,): how well each reference pixel is represented by slices; 0 without any."""
    if len(chosen) == 0:
        return torch.zeros(similarity.shape[1])
    return similarity[chosen].amax(dim=0)


def coverage_curve(
    similarity: torch.Tensor, weights: torch.Tensor, annotated: torch.Tensor, order: Sequence[int]
) -> list[float]:
    """Coverage by the annotated slices alone, then with one more slice of a list after the other.

    Args:
        similarity: See :func:`slice_similarity`.
        weights: Of the reference pixels, with the sum 1.
        annotated: Shape (N,), bool.
        order: Indices of slices.

    Returns:
        As many shares as the list has entries, and one more; 0 to 1, never falling.
    """
    covered = covered_by(similarity, annotated.nonzero().flatten())
    curve = [float(covered @ weights)]
    for index in order:
        covered = torch.maximum(covered, similarity[index])
        curve.append(float(covered @ weights))
    return curve


def _best_gain(
    similarity: torch.Tensor,
    covered: torch.Tensor,
    weights: torch.Tensor,
    bounds: torch.Tensor,
    allowed: torch.Tensor,
) -> int:
    """The allowed slice that adds most; of equal ones the first.

    A gain only falls as more is covered, so an earlier one bounds it, and most need not be computed again (Minoux
    1978). ``bounds`` (N,) holds them and is brought up to date in place.
    """
    order = allowed[bounds[allowed].argsort(descending=True, stable=True)]
    best, best_gain = -1, -1.0
    for part in order.split(SLICES_AT_ONCE):
        if float(bounds[part[0]]) < best_gain:
            break
        gains = (similarity[part] - covered).clamp(min=0) @ weights
        bounds[part] = gains
        place = int(gains.argmax())
        if (float(gains[place]), -int(part[place])) > (best_gain, -best):
            best, best_gain = int(part[place]), float(gains[place])
    return best
