"""Nearest neighbors among pixels: search, and votes for the class that an annotated neighbor has.

Pure functions on tensors. Rows are pixels; N query rows, M support rows, d channels, C classes. The voting is the
weighted nearest-neighbor classifier of Wu et al. 2018 (arXiv 1805.01978, section 3.4) as DINO uses it (Caron et al.
2021, arXiv 2104.14294): a neighbor of cosine similarity s has the weight exp(s / temperature).
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import torch
from torch.nn.functional import normalize

SEARCHES = ("auto", "torch", "faiss")
SIMILARITIES_AT_ONCE = 2**26  # of float32: 256 MB
FOREGROUND_SHARE = 0.5

Search = Callable[[torch.Tensor], tuple[torch.Tensor, torch.Tensor]]
"""Query rows, shape (N, d) -> cosine similarities and indices of the nearest support rows, both (N, k), best first."""


def build_search(support: torch.Tensor, k: int, search: str = "auto") -> Search:
    """Prepares an exact search among support rows.

    Args:
        support: Shape (M, d), float32, M at least 1; need not be normalized.
        k: Neighbors per query; with fewer support rows, all of them.
        search: ``torch``, ``faiss`` (``IndexFlatIP``, on the CPU) or ``auto``: faiss where it is installed and the
            support lies on the CPU. The results are the same but for ties and rounding.

    Raises:
        ValueError: no such search, no support row, or k below 1.
    """
    if search not in SEARCHES:
        raise ValueError(f"unknown search {search!r}; known: {', '.join(SEARCHES)}")
    if k < 1 or len(support) == 0:
        raise ValueError(f"a search needs k of at least 1 and a support row; got k={k} and {len(support)} rows")
    k = min(k, len(support))
    normalized = normalize(support.float(), dim=1)
    has_faiss = importlib.util.find_spec("faiss") is not None and support.device.type == "cpu"
    if search == "faiss" or (search == "auto" and has_faiss):
        return _faiss_search(normalized, k)

    def find(queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        chunk = max(1, SIMILARITIES_AT_ONCE // len(normalized))
        parts = [(normalize(rows.float(), dim=1) @ normalized.T).topk(k, dim=1) for rows in queries.split(chunk)]
        return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])

    return find


def _faiss_search(normalized: torch.Tensor, k: int) -> Search:
    import faiss

    index = faiss.IndexFlatIP(normalized.shape[1])
    index.add(np.ascontiguousarray(normalized.cpu().numpy()))

    def find(queries: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = np.ascontiguousarray(normalize(queries.float(), dim=1).cpu().numpy())
        similarities, indices = index.search(rows, k)
        return torch.from_numpy(similarities).to(queries.device), torch.from_numpy(indices).to(queries.device)

    return find


def class_weights(labels: torch.Tensor, num_classes: int) -> torch.Tensor:
    """Weights that make every class of the support weigh the same in a vote; shape (C,), 0 for an absent class.

    Args:
        labels: Class of each support row, shape (M,), int64.
        num_classes: C.

    >>> class_weights(torch.tensor([0, 0, 0, 2]), 3)
    tensor([0.6667, 0.0000, 2.0000])
    """
    counts = torch.bincount(labels, minlength=num_classes).float()
    weights = torch.where(counts > 0, 1 / counts.clamp(min=1), counts)
    return weights * len(labels) / (counts > 0).sum()


def vote(
    similarities: torch.Tensor,
    neighbor_labels: torch.Tensor,
    num_classes: int,
    temperature: float,
    weights: torch.Tensor | None = None,
) -> torch.Tensor:
    """Shares of the classes among weighted neighbors.

    Args:
        similarities: Cosine similarities of the neighbors, shape (N, k).
        neighbor_labels: Their classes, shape (N, k), int64.
        num_classes: C.
        temperature: A neighbor weighs exp(similarity / temperature); infinity: all weigh the same.
        weights: Further weight of each class, shape (C,), see :func:`class_weights`; None: none.

    Returns:
        Shape (N, C), float32; every row sums to 1.

    >>> vote(torch.tensor([[0.9, 0.2, 0.1]]), torch.tensor([[1, 0, 0]]), num_classes=2, temperature=float("inf"))
    tensor([[0.6667, 0.3333]])
    >>> vote(torch.tensor([[0.9, 0.2, 0.1]]), torch.tensor([[1, 0, 0]]), num_classes=2, temperature=0.1)
    tensor([[0.0012, 0.9988]])
    """
    votes = torch.softmax(similarities.float() / temperature, dim=1)
    if weights is not None:
        votes = votes * weights[neighbor_labels]
    shares = torch.zeros(len(votes), num_classes, device=votes.device).scatter_add_(1, neighbor_labels, votes)
    return shares / shares.sum(dim=1, keepdim=True)


def choose_support(labels: np.ndarray, max_pixels: int, generator: np.random.Generator) -> np.ndarray:
    """Which pixels of an annotated image become support: the foreground, and a random part of the background.

    The foreground is taken whole where it fits into half of ``max_pixels``; else that half is shared evenly by its
    classes, and what a small class leaves goes to the others. The background fills the rest.

    Args:
        labels: Class of each pixel, any shape; 0 is background, negative values are never taken.
        max_pixels: Most pixels to take.
        generator: Source of randomness.

    Returns:
        Sorted flat indices into ``labels``.
    """
    flat = labels.ravel()
    classes = sorted((np.flatnonzero(flat == label) for label in np.unique(flat[flat > 0])), key=len)
    room = int(max_pixels * FOREGROUND_SHARE)
    chosen: list[np.ndarray] = []
    for number, pixels in enumerate(classes):
        share = room // (len(classes) - number)
        taken = pixels if len(pixels) <= share else generator.choice(pixels, share, replace=False)
        chosen.append(taken)
        room -= len(taken)
    background = np.flatnonzero(flat == 0)
    rest = max_pixels - sum(map(len, chosen))
    chosen.append(background if len(background) <= rest else generator.choice(background, rest, replace=False))
    return np.sort(np.concatenate(chosen)).astype(np.int64)


def cosine_similarity_to(features: torch.Tensor, point: torch.Tensor) -> torch.Tensor:
    """Cosine similarity of every row to one row; shapes (N, d), (d,) -> (N,)."""
    return normalize(features.float(), dim=1) @ normalize(point.float(), dim=0)
