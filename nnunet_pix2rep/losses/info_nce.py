"""Pixel InfoNCE, the loss of Pix2Rep (arXiv 2407.20395; NT-Xent of SimCLR, arXiv 2002.05709, over pixels).

For N pairs, the 2N normalised embeddings z of both views and the temperature t::

    loss = mean over i of  -log( exp(z_i . z_p(i) / t) / sum over j != i of exp(z_i . z_j / t) )

where p(i) is the other pixel of i's pair: every other sampled pixel of either view is a negative.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.functional import normalize

from nnunet_pix2rep.losses.distributed import all_gather_rows, is_distributed
from nnunet_pix2rep.losses.pairs import check_pairs


class _ChunkedCrossEntropy(torch.autograd.Function):
    """Sum over rows of the cross-entropy of the similarities with the paired column, a chunk of rows at a time.

    The gradient is worked out beside the loss, so neither pass ever holds more than chunk x columns similarities, and
    the similarities are computed once.
    """

    @staticmethod
    def forward(
        context,
        rows: torch.Tensor,
        columns: torch.Tensor,
        own: torch.Tensor,
        paired: torch.Tensor,
        temperature: float,
        chunk_size: int,
    ) -> torch.Tensor:
        total = rows.new_zeros(())
        row_gradient, column_gradient = torch.zeros_like(rows), torch.zeros_like(columns)
        needs_gradient = any(context.needs_input_grad)
        for start in range(0, len(rows), chunk_size):
            chunk = slice(start, start + chunk_size)
            similarity = rows[chunk] @ columns.T / temperature
            similarity.scatter_(1, own[chunk, None], -torch.inf)
            log_sum = similarity.logsumexp(dim=1, keepdim=True)
            total += (log_sum - similarity.gather(1, paired[chunk, None])).sum()
            if needs_gradient:
                gradient = similarity.sub_(log_sum).exp_()
                gradient.scatter_add_(1, paired[chunk, None], -torch.ones_like(log_sum))
                row_gradient[chunk] = gradient @ columns / temperature
                column_gradient.addmm_(gradient.T, rows[chunk], alpha=1 / temperature)
        context.save_for_backward(row_gradient, column_gradient)
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient: torch.Tensor):
        row_gradient, column_gradient = context.saved_tensors
        return gradient * row_gradient, gradient * column_gradient, None, None, None, None


def info_nce(z_1: torch.Tensor, z_2: torch.Tensor, temperature: float = 0.5, chunk_size: int = 1024) -> torch.Tensor:
    """Symmetric InfoNCE between paired pixels, over the pairs of all processes.

    Args:
        z_1: Embeddings of view 1, shape (N, d), any float type; computed in float32 at least.
        z_2: Embeddings of view 2, row i paired with row i of ``z_1``.
        temperature: Above 0.
        chunk_size: Rows of the similarity matrix in memory at once.

    Returns:
        A scalar. Under torch.distributed each process returns its rows' share, scaled so that the mean over processes
        is the loss of the joined batch.

    Raises:
        ValueError: shapes that differ or are not (N, d), or fewer than two pairs.
    """
    check_pairs(z_1, z_2)
    with torch.autocast(z_1.device.type, enabled=False):
        dtype = torch.promote_types(z_1.dtype, torch.float32)
        z_1, z_2 = (normalize(z.to(dtype), dim=1) for z in (z_1, z_2))
        all_1, start = all_gather_rows(z_1)
        all_2, _ = all_gather_rows(z_2)
        num_pairs = len(all_1)
        index_1 = torch.arange(start, start + len(z_1), device=z_1.device)
        own = torch.cat([index_1, index_1 + num_pairs])
        paired = torch.cat([index_1 + num_pairs, index_1])
        rows, columns = torch.cat([z_1, z_2]), torch.cat([all_1, all_2])
        total = _ChunkedCrossEntropy.apply(rows, columns, own, paired, temperature, chunk_size)
        num_processes = torch.distributed.get_world_size() if is_distributed() else 1
        return total * num_processes / (2 * num_pairs)


class InfoNCELoss(nn.Module):
    """Module of :func:`info_nce`."""

    def __init__(self, temperature: float = 0.5, chunk_size: int = 1024):
        super().__init__()
        self.temperature = temperature
        self.chunk_size = chunk_size

    def forward(self, z_1: torch.Tensor, z_2: torch.Tensor) -> torch.Tensor:
        """See :func:`info_nce`."""
        return info_nce(z_1, z_2, self.temperature, self.chunk_size)
