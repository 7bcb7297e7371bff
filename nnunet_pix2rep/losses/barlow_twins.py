"""Pixel Barlow Twins, the loss of Pix2Rep-v2 (arXiv 2609.01427; Zbontar et al., arXiv 2103.03230, over pixels).

With every channel of either view standardized over the N pixels, C = Z_1^T Z_2 / N and::

    loss = sum over i of (1 - C_ii)^2 + lambda * sum over i != j of C_ij^2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch

from nnunet_pix2rep.losses.distributed import all_reduce_sum, number_of_processes
from nnunet_pix2rep.losses.pairs import PairLoss, in_float32

STANDARDIZATION_EPSILON = 1e-5


@in_float32
def plain_barlow_twins(z_1: torch.Tensor, z_2: torch.Tensor, redundancy_weight: float = 5e-3) -> torch.Tensor:
    """The loss as its formula reads: the reference of :func:`barlow_twins`, which is the faster one.

    Args, Returns and Raises: as there.
    """
    num_rows = all_reduce_sum(z_1.new_full((), len(z_1)))

    def standardize(z: torch.Tensor) -> torch.Tensor:
        centered = z - all_reduce_sum(z.sum(dim=0)) / num_rows
        variance = all_reduce_sum(centered.square().sum(dim=0)) / num_rows
        return centered * (variance + STANDARDIZATION_EPSILON).rsqrt()

    correlation = all_reduce_sum(standardize(z_1).T @ standardize(z_2)) / num_rows
    invariance = (1 - correlation.diagonal()).square().sum()
    redundancy = correlation.square().sum() - correlation.diagonal().square().sum()
    return invariance + redundancy_weight * redundancy


@dataclass(frozen=True)
class _Correlation:
    """The cross-correlation and its parts: C_ij = scale_1i scale_2j / num_rows * (centered_1^T centered_2)_ij.

    The channels are centered before the product and scaled after it, where it is only d x d.
    """

    matrix: torch.Tensor
    centered: tuple[torch.Tensor, torch.Tensor]
    scales: tuple[torch.Tensor, torch.Tensor]
    num_rows: torch.Tensor

    @classmethod
    def of(cls, z_1: torch.Tensor, z_2: torch.Tensor) -> _Correlation:
        num_rows = all_reduce_sum(z_1.new_full((), len(z_1)))  # unlike torch.tensor, does not wait for the device
        centered_1, centered_2 = (z - all_reduce_sum(z.sum(dim=0)) / num_rows for z in (z_1, z_2))
        variances = [all_reduce_sum(z.square().sum(dim=0)) / num_rows for z in (centered_1, centered_2)]
        scale_1, scale_2 = ((variance + STANDARDIZATION_EPSILON).rsqrt() for variance in variances)
        product = all_reduce_sum(centered_1.T @ centered_2)
        matrix = product * (scale_1[:, None] * scale_2 / num_rows)
        return cls(matrix, (centered_1, centered_2), (scale_1, scale_2), num_rows)

    def gradients(self, by_matrix: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Gradients by the embeddings of both views, of which that by the matrix is given.

        Their means over the rows of all processes are 0, as those of the centered embeddings are, so the centering
        takes nothing away from them; and all else is known in every process, so nothing is sent.
        """
        by_product = by_matrix * (self.scales[0][:, None] * self.scales[1] / self.num_rows)
        by_scale = by_matrix * self.matrix  # times the scale
        shrinkage = [
            by_scale.sum(dim=1 - view) * self.scales[view].square() / self.num_rows for view in range(len(self.scales))
        ]
        z_1, z_2 = self.centered
        return (
            torch.addmm(z_1 * -shrinkage[0], z_2, by_product.T),
            torch.addmm(z_2 * -shrinkage[1], z_1, by_product),
        )


def cross_correlation(z_1: torch.Tensor, z_2: torch.Tensor) -> torch.Tensor:
    """Cross-correlation of the channels of two views over the pixels of all processes; (N, d), (N, d) -> (d, d)."""
    return _Correlation.of(z_1, z_2).matrix


class _BarlowTwins(torch.autograd.Function):
    """The loss of embeddings in float32 or float64, with its gradient by hand: two products instead of autograd's many
    passes over the embeddings.
    """

    @staticmethod
    def forward(context: Any, z_1: torch.Tensor, z_2: torch.Tensor, redundancy_weight: float) -> torch.Tensor:
        context.correlation = _Correlation.of(z_1, z_2)
        context.redundancy_weight = redundancy_weight
        matrix = context.correlation.matrix
        diagonal = matrix.diagonal()
        redundancy = matrix.square().sum() - diagonal.square().sum()
        return (1 - diagonal).square().sum() + redundancy_weight * redundancy

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None]:
        correlation = context.correlation
        by_matrix = 2 * context.redundancy_weight * correlation.matrix
        by_matrix.diagonal().copy_(2 * (correlation.matrix.diagonal() - 1))
        # the sum of the gradients of all processes, which DistributedDataParallel averages
        return *correlation.gradients(by_matrix * (gradient * number_of_processes())), None


@in_float32
def barlow_twins(z_1: torch.Tensor, z_2: torch.Tensor, redundancy_weight: float = 5e-3) -> torch.Tensor:
    """Barlow Twins between paired pixels, over the pairs of all processes.

    Args:
        z_1: Embeddings of view 1, shape (N, d), any float type; computed in float32 at least.
        z_2: Embeddings of view 2, row i paired with row i of ``z_1``.
        redundancy_weight: lambda.

    Returns:
        A scalar, the same in every process. Its gradients are those of the sum over the processes; what follows it must
        be the same in all processes, as a gradient scaler is.

    Raises:
        ValueError: shapes that differ or are not (N, d), or fewer than two pairs.
    """
    return _BarlowTwins.apply(z_1, z_2, redundancy_weight)


class BarlowTwinsLoss(PairLoss):
    """Module of :func:`barlow_twins`."""

    name = "barlow_twins"

    def __init__(self, redundancy_weight: float = 5e-3):
        super().__init__()
        self.redundancy_weight = redundancy_weight

    def forward(self, z_1: torch.Tensor, z_2: torch.Tensor) -> torch.Tensor:
        """See :func:`barlow_twins`."""
        return barlow_twins(z_1, z_2, self.redundancy_weight)
