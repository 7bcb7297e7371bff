"""Pixel InfoNCE, the loss of Pix2Rep (arXiv 2407.20395; NT-Xent of SimCLR, arXiv 2002.05709, over pixels).

For N pairs, the 2N normalized embeddings z of both views and the temperature t::

    loss = mean over i of  -log( exp(z_i . z_p(i) / t) / sum over j != i of exp(z_i . z_j / t) )

where p(i) is the other pixel of i's pair: every other sampled pixel of either view is a negative. That costs the square
of the number of pairs. With fewer negatives the pairs are dealt out to groups, pair k to group k mod G; each pair is
compared within its group, and the cost is linear.
"""

from __future__ import annotations

import torch
from torch.nn.functional import cross_entropy, normalize

from nnunet_pix2rep.losses.distributed import gather_rows, numbers_of_rows
from nnunet_pix2rep.losses.groups import number_of_groups
from nnunet_pix2rep.losses.info_nce_fast import sum_of_cross_entropies
from nnunet_pix2rep.losses.pairs import PairLoss, check_pairs, in_float32


@in_float32
def plain_info_nce(
    z_1: torch.Tensor, z_2: torch.Tensor, temperature: float = 0.5, negatives: int | None = None
) -> torch.Tensor:
    """The loss as its formula reads: the reference of :func:`info_nce`, which takes a fraction of its time and memory.

    Args and Returns: as there, but each process returns the loss of the joined batch.
    """
    counts = numbers_of_rows(z_1)
    all_1, all_2 = (normalize(gather_rows(z, counts), dim=1) for z in (z_1, z_2))
    num_groups = number_of_groups(sum(counts), negatives)
    total = z_1.new_zeros(())
    for group in range(num_groups):
        views = all_1[group::num_groups], all_2[group::num_groups]
        rows = torch.cat(views)
        itself = torch.eye(len(rows), dtype=torch.bool, device=rows.device)
        similarities = (rows @ rows.T / temperature).masked_fill(itself, -torch.inf)
        partners = torch.arange(len(rows), device=rows.device).roll(len(views[0]))
        total = total + cross_entropy(similarities, partners, reduction="sum")
    return total / (2 * sum(counts))


def info_nce(
    z_1: torch.Tensor,
    z_2: torch.Tensor,
    temperature: float = 0.5,
    chunk_size: int = 512,
    negatives: int | None = None,
) -> torch.Tensor:
    """Symmetric InfoNCE between paired pixels, over the pairs of all processes.

    Args:
        z_1: Embeddings of view 1, shape (N, d), any float type; computed in float32 at least, also under autocast.
        z_2: Embeddings of view 2, row i paired with row i of ``z_1``.
        temperature: Above 0.
        chunk_size: Rows and columns of the part of the similarity matrix that is in memory at once.
        negatives: Largest number of other pixels that a pixel is compared with, beside its pair; None: all. At least 2.
            The pairs should be in random order, or image by image, so that every group has pixels of all images.

    Returns:
        A scalar. Under torch.distributed each process returns its rows' share, scaled so that the mean over processes
        is the loss of the joined batch; what follows it must be the same in all processes, as a gradient scaler is.

    Raises:
        ValueError: shapes that differ or are not (N, d), or fewer than two pairs.
    """
    check_pairs(z_1, z_2)
    with torch.autocast(z_1.device.type, enabled=False):
        counts = numbers_of_rows(z_1)
        num_groups = number_of_groups(sum(counts), negatives)
        total = sum_of_cross_entropies(
            z_1, z_2, counts=counts, temperature=temperature, chunk_size=chunk_size, num_groups=num_groups
        )
        return total * len(counts) / (2 * sum(counts))


class InfoNCELoss(PairLoss):
    """Module of :func:`info_nce`."""

    name = "info_nce"

    def __init__(self, temperature: float = 0.5, chunk_size: int = 512, negatives: int | None = None):
        super().__init__()
        self.temperature = temperature
        self.chunk_size = chunk_size
        self.negatives = negatives

    def forward(self, z_1: torch.Tensor, z_2: torch.Tensor) -> torch.Tensor:
        """See :func:`info_nce`."""
        return info_nce(z_1, z_2, temperature=self.temperature, chunk_size=self.chunk_size, negatives=self.negatives)
