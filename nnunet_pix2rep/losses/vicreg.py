"""Pixel VICReg (Bardes et al., ICLR 2022, arXiv 2105.04906; over paired pixels as in VICRegL, arXiv 2210.01571).

With the variance and the covariance of the channels of each view over the N pixels::

    loss = invariance_weight * mean over pixels and channels of (z_1 - z_2)^2
         + variance_weight   * mean over views and channels of max(0, 1 - sqrt(variance + epsilon))
         + covariance_weight * sum over views and i != j of covariance_ij^2 / d

The pairs are those of VICRegL's local loss that is matched by place. There variance and covariance are of each place
over the images of a batch; here of all sampled pixels, since medical batches are small.
"""

from __future__ import annotations

import torch
from torch.nn.functional import relu

from nnunet_pix2rep.losses.distributed import all_reduce_sum
from nnunet_pix2rep.losses.pairs import PairLoss, in_float32

VARIANCE_EPSILON = 1e-4


@in_float32
def vicreg(
    z_1: torch.Tensor,
    z_2: torch.Tensor,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
) -> torch.Tensor:
    """VICReg between paired pixels, over the pairs of all processes.

    Args:
        z_1: Embeddings of view 1, shape (N, d), any float type; computed in float32 at least.
        z_2: Embeddings of view 2, row i paired with row i of ``z_1``.
        invariance_weight: Weight of the distance of the pairs.
        variance_weight: Weight of what channels lack of standard deviation 1.
        covariance_weight: Weight of what channels have in common.

    Returns:
        A scalar, the same in every process; gradients as :class:`nnunet_pix2rep.losses.pairs.PairLoss` says.

    Raises:
        ValueError: shapes that differ or are not (N, d), or fewer than two pairs.
    """
    num_rows, num_channels = all_reduce_sum(z_1.new_full((), len(z_1))), z_1.shape[1]
    invariance = all_reduce_sum((z_1 - z_2).square().sum()) / (num_rows * num_channels)
    variance = covariance = z_1.new_zeros(())
    for z in (z_1, z_2):
        centered = z - all_reduce_sum(z.sum(dim=0)) / num_rows
        matrix = all_reduce_sum(centered.T @ centered) / (num_rows - 1)
        variances = matrix.diagonal()
        variance = variance + relu(1 - (variances + VARIANCE_EPSILON).sqrt()).mean() / 2
        covariance = covariance + (matrix.square().sum() - variances.square().sum()) / num_channels
    return invariance_weight * invariance + variance_weight * variance + covariance_weight * covariance


class VICRegLoss(PairLoss):
    """Module of :func:`vicreg`."""

    name = "vicreg"

    def __init__(self, invariance_weight: float = 25.0, variance_weight: float = 25.0, covariance_weight: float = 1.0):
        super().__init__()
        self.invariance_weight = invariance_weight
        self.variance_weight = variance_weight
        self.covariance_weight = covariance_weight

    def forward(self, z_1: torch.Tensor, z_2: torch.Tensor) -> torch.Tensor:
        """See :func:`vicreg`."""
        return vicreg(
            z_1,
            z_2,
            invariance_weight=self.invariance_weight,
            variance_weight=self.variance_weight,
            covariance_weight=self.covariance_weight,
        )
