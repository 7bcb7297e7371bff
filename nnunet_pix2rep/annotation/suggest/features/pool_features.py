"""From the features of scans to the pool that selectors choose from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch.nn.functional import normalize

from nnunet_pix2rep.annotation.selectors import SlicePool
from nnunet_pix2rep.annotation.selectors.weights import center_weights, distinctive_weights, similarity_weights
from nnunet_pix2rep.annotation.slices import Slice, relative_positions
from nnunet_pix2rep.annotation.suggest.features.slice_features import FeatureCache
from nnunet_pix2rep.annotation.suggest.scans import Scan

WEIGHTINGS = ("structure", "all", "distinctive", "centre")
MOST_CHANNELS = 64
ROWS_FOR_BASIS = 20000
MOST_EXAMPLES = 512


@dataclass(frozen=True)
class Basis:
    """Principal components of the features: what all pixels have in common is taken off, and little is left to keep.

    Attributes:
        mean: Shape (d,).
        components: Shape (d, k).
    """

    mean: torch.Tensor
    components: torch.Tensor

    @classmethod
    def fit(cls, rows: torch.Tensor) -> Basis:
        """The components of rows (M, d), as many as there are up to 64."""
        mean = rows.mean(dim=0)
        _, _, components = torch.linalg.svd(rows - mean, full_matrices=False)
        return cls(mean, components[:MOST_CHANNELS].T.contiguous())

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Features (*S, d) to (*S, k) of unit length."""
        return normalize((features - self.mean) @ self.components, dim=-1)


@dataclass(frozen=True)
class FeaturePool:
    """The pool and what is known of its pixels.

    Attributes:
        pool: All slices, without weights.
        slices: Which slice each entry of the pool is.
        places: Shape (N, P, 2): where the pixels lie in their slices, 0 to 1.
        examples: Shape (M, k): features of annotated foreground.
        basis: Takes features of the network to those of the pool.
    """

    pool: SlicePool
    slices: tuple[Slice, ...]
    places: torch.Tensor
    examples: torch.Tensor
    basis: Basis


def pool_without_features(scans: Sequence[Scan]) -> tuple[SlicePool, tuple[Slice, ...]]:
    """All slices of scans, for selectors that need no features."""
    entries = [(scan, index) for scan in scans for index in sorted({*scan.free_slices, *scan.annotated})]
    return _pool_of(entries), tuple(Slice(scan.case, index) for scan, index in entries)


def build_pool(scans: Sequence[Scan], cache: FeatureCache, seed: int) -> FeaturePool:
    """The slices of scans with their features, in 64 channels at most."""
    basis = Basis.fit(_sample_rows(scans, cache, seed))
    entries, features, places, examples = [], [], [], []
    for scan in scans:
        found = cache.read(scan)
        entries += [(scan, int(index)) for index in found.slices]
        features.append(basis(torch.from_numpy(found.features).float()))
        places.append(torch.from_numpy(found.places).float())
        examples.append(basis(torch.from_numpy(found.examples).float()))
    drawn = torch.cat(examples)
    generator = torch.Generator().manual_seed(seed)
    drawn = drawn[torch.randperm(len(drawn), generator=generator)[:MOST_EXAMPLES]]
    pool = replace(_pool_of(entries), features=torch.cat(features))
    slices = tuple(Slice(scan.case, index) for scan, index in entries)
    return FeaturePool(pool, slices, places=torch.cat(places), examples=drawn, basis=basis)


def weigh(found: FeaturePool, weighting: str, examples: torch.Tensor, seed: int) -> SlicePool:
    """The pool with what each pixel counts.

    Args:
        found: The pool.
        weighting: One of ``WEIGHTINGS``.
        examples: Shape (M, k): features of the structure, for ``structure``.
        seed: Of the pixels that ``distinctive`` compares with.
    """
    features = found.pool.require_features()
    if weighting == "structure":
        return replace(found.pool, weights=similarity_weights(features, examples))
    if weighting == "distinctive":
        generator = torch.Generator().manual_seed(seed)
        return replace(found.pool, weights=distinctive_weights(features, generator))
    if weighting == "centre":
        return replace(found.pool, weights=center_weights(found.places))
    return found.pool


def _pool_of(entries: Sequence[tuple[Scan, int]]) -> SlicePool:
    done = {scan.case: set(scan.annotated) for scan, _ in entries}
    patients = tuple(scan.patient for scan, _ in entries)
    slices = [Slice(scan.case, index) for scan, index in entries]
    return SlicePool(
        patients=patients,
        cases=tuple(scan.case for scan, _ in entries),
        positions=torch.tensor(relative_positions(patients, slices, [scan.num_slices for scan, _ in entries])),
        annotated=torch.tensor([index in done[scan.case] for scan, index in entries], dtype=torch.bool),
    )


def _sample_rows(scans: Sequence[Scan], cache: FeatureCache, seed: int) -> torch.Tensor:
    """Features (M, d) of some pixels of every scan, the same number of each."""
    generator = np.random.default_rng(seed)
    rows = []
    for scan in scans:
        features = cache.read(scan).features
        flat = features.reshape(-1, features.shape[-1])
        rows.append(flat[generator.permutation(len(flat))[: max(1, ROWS_FOR_BASIS // len(scans))]])
    return torch.from_numpy(np.concatenate(rows)).float()
