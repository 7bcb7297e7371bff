"""The fast path of pixel InfoNCE: the gradient by hand, and no more than a block of similarities at a time.

Read ``plain_info_nce`` in info_nce.py first, which gives the same, as the tests check.
docs/explanation/performance.md says what this one is worth.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from nnunet_pix2rep.losses.distributed import gather_rows, process_rank
from nnunet_pix2rep.losses.groups import PairGroups

SMALLEST_NORM = 1e-12  # as torch.nn.functional.normalize
LOWEST_TEMPERATURE_OF_EXPONENTIALS = 1 / 60  # exp(60) is 1e26, so float32 holds the sum of 1e12 of them


class _Similarities:
    """The inner products of own embeddings with one another and with those of others, in several groups at once.

    They are worked out block by block, those of two blocks of own embeddings once for both.

    Args:
        own: Shape (groups, n, d).
        others: Shape (groups, m, d).
        chunk_size: Largest number of rows and columns of a block.
    """

    def __init__(self, own: torch.Tensor, others: torch.Tensor, chunk_size: int):
        self.own, self.others = own, others
        self.own_blocks = [slice(start, start + chunk_size) for start in range(0, own.shape[1], chunk_size)]
        self.other_blocks = [slice(start, start + chunk_size) for start in range(0, others.shape[1], chunk_size)]

    def _own_block(self, rows: slice, columns: slice) -> torch.Tensor:
        block = self.own[:, rows] @ self.own[:, columns].mT
        if rows == columns:
            block.diagonal(dim1=1, dim2=2).fill_(-torch.inf)  # nothing is compared with itself
        return block

    def _other_block(self, rows: slice, columns: slice) -> torch.Tensor:
        return self.own[:, rows] @ self.others[:, columns].mT

    def log_sums(self) -> torch.Tensor:
        """Log of the sum of the exponentials in the row of each own embedding, shape (groups, n)."""
        sums = self.own.new_full(self.own.shape[:2], -torch.inf)

        def add(rows: slice, further: torch.Tensor) -> None:
            sums[:, rows] = torch.logaddexp(sums[:, rows], further)

        for number, rows in enumerate(self.own_blocks):
            for columns in self.own_blocks[number:]:
                block = self._own_block(rows, columns)
                add(rows, block.logsumexp(dim=2))
                if columns != rows:
                    add(columns, block.logsumexp(dim=1))
            for columns in self.other_blocks:
                add(rows, self._other_block(rows, columns).logsumexp(dim=2))
        return sums

    def gradient(self, own_sums: torch.Tensor, other_sums: torch.Tensor) -> torch.Tensor:
        """Gradient by the own embeddings of the log-sums of all, own and others; shape (groups, n, d).

        Args:
            own_sums: What :meth:`log_sums` gives.
            other_sums: What it gives where the others are the own; shape (groups, m).
        """
        gradient = torch.zeros_like(self.own)
        for number, rows in enumerate(self.own_blocks):
            for columns in self.own_blocks[number:]:
                shares = _shares(self._own_block(rows, columns), own_sums[:, rows], own_sums[:, columns])
                gradient[:, rows].baddbmm_(shares, self.own[:, columns])
                if columns != rows:
                    gradient[:, columns].baddbmm_(shares.mT, self.own[:, rows])
            for columns in self.other_blocks:
                shares = _shares(self._other_block(rows, columns), own_sums[:, rows], other_sums[:, columns])
                gradient[:, rows].baddbmm_(shares, self.others[:, columns])
        return gradient


class _Exponentials:
    """What :class:`_Similarities` gives, where there are no others and one block holds all: exponentials are kept.

    None is above exp(1 / temperature), which must be far below what float32 can hold.

    Args:
        own: Shape (groups, n, d).
    """

    def __init__(self, own: torch.Tensor):
        self.own = own
        self.exponentials = (own @ own.mT).exp_()
        self.exponentials.diagonal(dim1=1, dim2=2).zero_()  # nothing is compared with itself
        self.sums = self.exponentials.sum(dim=2)

    def log_sums(self) -> torch.Tensor:
        """See :meth:`_Similarities.log_sums`."""
        return self.sums.log()

    def gradient(self, _own_sums: torch.Tensor, _other_sums: torch.Tensor) -> torch.Tensor:
        """See :meth:`_Similarities.gradient`; to be called once."""
        inverse = self.sums.reciprocal()
        return self.exponentials.mul_(inverse[..., None] + inverse[:, None]) @ self.own


def _similarities(
    own: torch.Tensor, others: torch.Tensor, temperature: float, chunk_size: int
) -> _Similarities | _Exponentials:
    """The faster of both where it can be taken."""
    if own.shape[1] <= chunk_size and others.shape[1] == 0 and temperature >= LOWEST_TEMPERATURE_OF_EXPONENTIALS:
        return _Exponentials(own)
    return _Similarities(own, others, chunk_size)


def _shares(similarities: torch.Tensor, row_sums: torch.Tensor, column_sums: torch.Tensor) -> torch.Tensor:
    """Softmax over the row plus softmax over the column of every entry; may overwrite ``similarities``."""
    by_column = (similarities - column_sums[:, None]).exp_()
    return similarities.sub_(row_sums[..., None]).exp_().add_(by_column)


class _CrossEntropy(torch.autograd.Function):
    """Sum over the own rows of the cross-entropy of the similarities with the paired one.

    The gradient, that of the sum over the rows of all processes, is worked out beside the value, so neither pass ever
    holds more than a block of similarities, and the backward pass has nothing to send. Rows are normalized a few groups
    at a time, where they are in the processor's cache.
    """

    @staticmethod
    def forward(
        context: Any,
        z_1: torch.Tensor,
        z_2: torch.Tensor,
        counts: list[int],
        temperature: float,
        chunk_size: int,
        num_groups: int,
    ) -> torch.Tensor:
        all_1, all_2 = gather_rows(z_1, counts), gather_rows(z_2, counts)
        dtype = torch.promote_types(z_1.dtype, torch.float32)
        total = z_1.new_zeros((), dtype=dtype)
        gradients = torch.empty_like(z_1, dtype=dtype), torch.empty_like(z_2, dtype=dtype)  # the groups fill them
        for groups in PairGroups.dealt_out(num_groups, counts, process_rank(), chunk_size):
            own, norms = _normalized([groups.mine(z_1), groups.mine(z_2)], temperature, dtype)
            of_others = groups.others(z_1.device)
            others, _ = _normalized([all_1[of_others], all_2[of_others]], temperature, dtype)
            similarities = _similarities(own, others, temperature, chunk_size)
            sums = similarities.log_sums()
            view_1, view_2 = own.chunk(2, dim=1)
            total += sums.sum() - 2 * (view_1 * view_2).sum()
            if any(context.needs_input_grad):
                other_sums = groups.sums_of_others(sums)
                by_own = similarities.gradient(sums, other_sums)
                for by_view, other_view in zip(by_own.chunk(2, dim=1), (view_2, view_1), strict=True):
                    by_view.sub_(other_view, alpha=2)
                along = (own * by_own).sum(dim=2, keepdim=True).mul_(temperature)  # what the normalization takes away
                by_z = by_own.addcmul_(own, along, value=-1).div_(norms * temperature**0.5)
                for by_view, values in zip(gradients, by_z.chunk(2, dim=1), strict=True):
                    groups.set_mine(by_view, values)
        context.save_for_backward(*gradients)
        context.dtype = z_1.dtype
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, None, None, None, None]:
        by_1, by_2 = ((gradient * by_z).to(context.dtype) for by_z in context.saved_tensors)
        return by_1, by_2, None, None, None, None


def _normalized(
    parts: Sequence[torch.Tensor], temperature: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Joined rows of norm temperature^-1/2, whose inner products are similarities over temperature; their norms."""
    rows = torch.cat(list(parts), dim=1).to(dtype)
    norms = torch.linalg.vector_norm(rows, dim=2, keepdim=True).clamp_min_(SMALLEST_NORM)
    return rows.div_(norms * temperature**0.5), norms


def sum_of_cross_entropies(
    z_1: torch.Tensor, z_2: torch.Tensor, counts: list[int], temperature: float, chunk_size: int, num_groups: int
) -> torch.Tensor:
    """Sum over both pixels of this process's pairs of the cross-entropy within their group.

    Args:
        z_1: Embeddings of view 1, shape (N, d).
        z_2: Embeddings of view 2, shape (N, d).
        counts: Pairs of each process.
        temperature: Above 0.
        chunk_size: Rows and columns of a block of similarities.
        num_groups: Pair k of all processes' pairs is compared within group k mod num_groups.
    """
    return _CrossEntropy.apply(z_1, z_2, counts, temperature, chunk_size, num_groups)
