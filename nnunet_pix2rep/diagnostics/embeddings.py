"""Signs of how a self-supervised training is doing, from paired embeddings.

All functions take embeddings of shape (N, d), float, and return a scalar tensor.
docs/explanation/diagnostics.md says how to read them.
"""

from __future__ import annotations

import torch
from torch.nn.functional import normalize

PAIR_DIAGNOSTICS = ("alignment", "uniformity", "effective_rank", "dead_dimensions", "retrieval_accuracy")
MAX_ROWS = 1024
DEAD_STANDARD_DEVIATION = 1e-2


def alignment(z_1: torch.Tensor, z_2: torch.Tensor) -> torch.Tensor:
    """Mean squared distance of normalized pairs (Wang and Isola 2020, arXiv 2005.10242, alpha = 2); 0 is perfect.

    Pairs drawn at random give 2 where the embeddings spread evenly, and 0 where they have collapsed: it says nothing
    without :func:`uniformity`.
    """
    return (normalize(z_1, dim=1) - normalize(z_2, dim=1)).square().sum(dim=1).mean()


def uniformity(z: torch.Tensor) -> torch.Tensor:
    """log of the mean Gaussian potential of all pairs of rows (Wang and Isola 2020, t = 2); 0 is collapsed.

    Between -8 (two antipodal rows) and 0; an even spread on a sphere of many dimensions gives -4. Collapse onto a few
    dimensions hardly shows in it (Fang et al. 2024, arXiv 2403.00642): see :func:`effective_rank`.
    """
    return torch.pdist(normalize(z, dim=1)).square().mul(-2).exp().mean().log()


def effective_rank(z: torch.Tensor) -> torch.Tensor:
    """RankMe (Garrido et al. 2023, arXiv 2210.02885): exp of the entropy of the singular values; 1 to min(N, d).

    As in the paper, of the rows as they are, neither centered nor normalized, with 1e-7 added to each share.

    >>> [round(effective_rank(z).item(), 2) for z in (torch.eye(3), torch.ones(3, 3))]
    [3.0, 1.0]
    """
    singular_values = torch.linalg.svdvals(z)
    share = singular_values / singular_values.sum().clamp(min=1e-12) + 1e-7
    return (-(share * share.log()).sum()).exp()


def dead_dimensions(z: torch.Tensor) -> torch.Tensor:
    """Share of the channels of normalized rows that hardly vary: standard deviation below 1 % of 1 / sqrt(d).

    1 / sqrt(d) is the standard deviation of rows that spread evenly (Chen and He 2021, arXiv 2011.10566, watch it
    for collapse); the 1 % is ours.
    """
    deviation = normalize(z, dim=1).std(dim=0) * z.shape[1] ** 0.5
    return (deviation < DEAD_STANDARD_DEVIATION).float().mean()


def retrieval_accuracy(z_1: torch.Tensor, z_2: torch.Tensor) -> torch.Tensor:
    """Share of the rows of view 1 whose nearest row of view 2 (cosine) is their own pair; chance is 1 / N."""
    nearest = (normalize(z_1, dim=1) @ normalize(z_2, dim=1).T).argmax(dim=1)
    return (nearest == torch.arange(len(z_1), device=z_1.device)).float().mean()


def summarize(z_1: torch.Tensor, z_2: torch.Tensor, max_rows: int = MAX_ROWS) -> dict[str, torch.Tensor]:
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
