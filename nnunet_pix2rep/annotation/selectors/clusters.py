"""Selectors that group slices by the mean features of their pixels and take one slice of each group.

TypiClust (Hacohen et al. 2022, arXiv 2202.02794, section 3): as many clusters as slices are annotated and wanted; those
without an annotated slice come first, large ones before small ones; from each the most typical slice.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from sklearn.cluster import KMeans

from nnunet_pix2rep.annotation.selectors.pool import PatientRounds, SlicePool, free_slices

MOST_CLUSTERS = 500
NEIGHBORS = 20  # of which the mean distance is the inverse of the typicality


def select_typical(pool: SlicePool, budget: int, generator: torch.Generator) -> list[int]:
    """The slice of each cluster that lies where the cluster is densest."""
    return _one_of_each(pool, budget, generator, typicality)


def select_kmeans(pool: SlicePool, budget: int, generator: torch.Generator) -> list[int]:
    """The slice of each cluster that is nearest to its mean."""
    return _one_of_each(pool, budget, generator, _closeness)


def typicality(members: torch.Tensor) -> torch.Tensor:
    """How dense a cluster is around each of its members.

    Args:
        members: Shape (M, d).

    Returns:
        Shape (M,): minus the mean distance to the 20 nearest other members.
    """
    if len(members) == 1:
        return torch.zeros(1)
    distances = torch.cdist(members, members).fill_diagonal_(torch.inf)
    return -distances.topk(min(NEIGHBORS, len(members) - 1), largest=False).values.mean(dim=1)


def _closeness(members: torch.Tensor) -> torch.Tensor:
    return -(members - members.mean(dim=0)).norm(dim=1)


def _one_of_each(
    pool: SlicePool, budget: int, generator: torch.Generator, score: Callable[[torch.Tensor], torch.Tensor]
) -> list[int]:
    """Goes through the clusters in rounds and takes the allowed slice of the highest score of each."""
    free = free_slices(pool, budget)
    descriptors = pool.descriptors()
    annotated = int(pool.annotated.sum())
    count = max(min(annotated + budget, MOST_CLUSTERS, len(pool)), 1)
    seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
    clusters = torch.from_numpy(KMeans(count, n_init=3, random_state=seed).fit_predict(descriptors.numpy())).long()
    scores = torch.empty(len(pool))
    for cluster in range(count):
        members = (clusters == cluster).nonzero().flatten()
        if len(members):
            scores[members] = score(descriptors[members])
    taken = torch.bincount(clusters[pool.annotated], minlength=count).tolist()
    sizes = torch.bincount(clusters, minlength=count).tolist()
    cluster_of, remaining, rounds = clusters.tolist(), set(free.tolist()), PatientRounds(pool)
    chosen: list[int] = []
    while len(chosen) < budget:
        allowed = rounds.allowed(sorted(remaining))
        best = min(
            allowed,
            key=lambda index: (taken[cluster_of[index]], -sizes[cluster_of[index]], -float(scores[index])),
        )
        chosen.append(best)
        remaining.remove(best)
        taken[cluster_of[best]] += 1
        rounds.take(best)
    return chosen
