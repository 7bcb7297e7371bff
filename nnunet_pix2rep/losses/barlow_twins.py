"""Pixel Barlow Twins, the loss of Pix2Rep-v2 (arXiv 2609.01427; Zbontar et al., arXiv 2103.03230, over pixels).

With every channel of either view standardised over the N pixels, C = Z_1^T Z_2 / N and::

    loss = sum over i of (1 - C_ii)^2 + lambda * sum over i != j of C_ij^2
"""

from __future__ import annotations

import torch
from torch import nn

from nnunet_pix2rep.losses.distributed import all_reduce_sum
from nnunet_pix2rep.losses.pairs import check_pairs

STANDARDISATION_EPSILON = 1e-5


def cross_correlation(z_1: torch.Tensor, z_2: torch.Tensor) -> torch.Tensor:
    """Cross-correlation of the channels of two views over the pixels of all processes; (N, d), (N, d) -> (d, d).

    The channels are centred before the product and scaled after it, where it is only d x d.
    """
    num_rows = all_reduce_sum(z_1.new_full((), len(z_1)))  # new_full, unlike torch.tensor, does not wait for the device
    centred, scales = [], []
    for z in (z_1, z_2):
        centred.append(z - all_reduce_sum(z.sum(dim=0)) / num_rows)
        variance = all_reduce_sum(centred[-1].square().sum(dim=0)) / num_rows
        scales.append((variance + STANDARDISATION_EPSILON).rsqrt())
    return all_reduce_sum(centred[0].T @ centred[1]) * (scales[0][:, None] * scales[1] / num_rows)


def barlow_twins(z_1: torch.Tensor, z_2: torch.Tensor, redundancy_weight: float = 5e-3) -> torch.Tensor:
    """Barlow Twins between paired pixels, over the pairs of all processes.

    Args:
        z_1: Embeddings of view 1, shape (N, d), any float type; computed in float32 at least.
        z_2: Embeddings of view 2, row i paired with row i of ``z_1``.
        redundancy_weight: lambda.

    Returns:
        A scalar, the same in every process.

    Raises:
        ValueError: shapes that differ or are not (N, d), or fewer than two pairs.
    """
    check_pairs(z_1, z_2)
    with torch.autocast(z_1.device.type, enabled=False):
        dtype = torch.promote_types(z_1.dtype, torch.float32)
        correlation = cross_correlation(z_1.to(dtype), z_2.to(dtype))
        diagonal = correlation.diagonal()
        invariance = (1 - diagonal).square().sum()
        redundancy = correlation.square().sum() - diagonal.square().sum()
        return invariance + redundancy_weight * redundancy


class BarlowTwinsLoss(nn.Module):
    """Module of :func:`barlow_twins`."""

    def __init__(self, redundancy_weight: float = 5e-3):
        super().__init__()
        self.redundancy_weight = redundancy_weight

    def forward(self, z_1: torch.Tensor, z_2: torch.Tensor) -> torch.Tensor:
        """See :func:`barlow_twins`."""
        return barlow_twins(z_1, z_2, self.redundancy_weight)
