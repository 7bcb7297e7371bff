"""Signs of how a self-supervised training is doing, from paired embeddings.

All functions take embeddings of shape (N, d), float, and return a scalar tensor.
"""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

DEAD_STANDARD_DEVIATION = 1e-2


def alignment(z_1: torch.Tensor, z_2: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of normalised pairs (Wang and Isola 2020, arXiv 2005.10242); 0 is perfect, 2 is chance."""
    return (normalize(z_1, dim=1) - normalize(z_2, dim=1)).square().sum(dim=1).mean()


def uniformity(z: torch.Tensor) -> torch.Tensor:
    """log of the mean Gaussian potential of all pairs of rows (Wang and Isola 2020); 0 is collapsed, lower better."""
    return torch.pdist(normalize(z, dim=1)).square().mul(-2).exp().mean().log()


def effective_rank(z: torch.Tensor) -> torch.Tensor:
    """RankMe (Garrido et al. 2023, arXiv 2210.02885): exp of the entropy of the singular values; 1 to min(N, d)."""
    singular_values = torch.linalg.svdvals(z)
    share = singular_values / singular_values.sum().clamp(min=1e-12) + 1e-7
    return (-(share * share.log()).sum()).exp()


def dead_dimensions(z: torch.Tensor) -> torch.Tensor:
    """Share of the channels of normalised rows that hardly vary: standard deviation below 1 % of 1 / sqrt(d)."""
    deviation = normalize(z, dim=1).std(dim=0) * z.shape[1] ** 0.5
    return (deviation < DEAD_STANDARD_DEVIATION).float().mean()


def retrieval_accuracy(z_1: torch.Tensor, z_2: torch.Tensor) -> torch.Tensor:
    """Share of the rows of view 1 whose nearest row of view 2 (cosine) is their own pair; chance is 1 / N."""
    nearest = (normalize(z_1, dim=1) @ normalize(z_2, dim=1).T).argmax(dim=1)
    return (nearest == torch.arange(len(z_1), device=z_1.device)).float().mean()


def summarise(z_1: torch.Tensor, z_2: torch.Tensor, max_rows: int = 1024) -> dict[str, torch.Tensor]:
    """All diagnostics of at most ``max_rows`` evenly spaced pairs, in float32, on the device of the embeddings."""
    rows = torch.linspace(0, len(z_1) - 1, min(max_rows, len(z_1)), device=z_1.device).long()
    z_1, z_2 = z_1[rows].float(), z_2[rows].float()
    return {
        "alignment": alignment(z_1, z_2),
        "uniformity": uniformity(z_1),
        "effective_rank": effective_rank(z_1),
        "dead_dimensions": dead_dimensions(z_1),
        "retrieval_accuracy": retrieval_accuracy(z_1, z_2),
    }
