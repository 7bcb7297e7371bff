"""Pixel InfoNCE, the loss of Pix2Rep (arXiv 2407.20395; NT-Xent of SimCLR, arXiv 2002.05709, over pixels).

For N pairs, the 2N normalised embeddings z of both views and the temperature t::

    loss = mean over i of  -log( exp(z_i . z_p(i) / t) / sum over j != i of exp(z_i . z_j / t) )

where p(i) is the other pixel of i's pair: every other sampled pixel of either view is a negative. That costs the square
of the number of pairs. With fewer negatives the pairs are dealt out to groups, pair k to group k mod G; each pair is
compared within its group, and the cost is linear.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from nnunet_pix2rep.losses.distributed import gather_rows, numbers_of_rows, process_rank
from nnunet_pix2rep.losses.pairs import check_pairs

SMALLEST_NORM = 1e-12  # as torch.nn.functional.normalize


class _Similarities:
    """The inner products of own embeddings with one another and with those of others, in several groups at once.

    They are worked out block by block, those of two blocks of own embeddings once for both. One block alone is kept.

    Args:
        own: Shape (groups, n, d).
        others: Shape (groups, m, d).
        chunk_size: Largest number of rows and columns of a block.
    """

    def __init__(self, own: torch.Tensor, others: torch.Tensor, chunk_size: int):
        self.own, self.others = own, others
        self.own_blocks = [slice(start, start + chunk_size) for start in range(0, own.shape[1], chunk_size)]
        self.other_blocks = [slice(start, start + chunk_size) for start in range(0, others.shape[1], chunk_size)]
        self._kept: torch.Tensor | None = None

    def _own_block(self, rows: slice, columns: slice) -> torch.Tensor:
        if self._kept is not None:
            return self._kept
        block = self.own[:, rows] @ self.own[:, columns].mT
        if rows == columns:
            block.diagonal(dim1=1, dim2=2).fill_(-torch.inf)  # nothing is compared with itself
        if len(self.own_blocks) == 1 and not self.other_blocks:
            self._kept = block
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


def _shares(similarities: torch.Tensor, row_sums: torch.Tensor, column_sums: torch.Tensor) -> torch.Tensor:
    """Softmax over the row plus softmax over the column of every entry; may overwrite ``similarities``."""
    by_column = (similarities - column_sums[:, None]).exp_()
    return similarities.sub_(row_sums[..., None]).exp_().add_(by_column)


@dataclass(frozen=True)
class _Groups:
    """Consecutive groups that have equally many rows of each process, to be worked out at once.

    Attributes:
        numbers: Of the groups, of ``num_groups``.
        num_groups: Pair k of all processes' pairs is in group k mod num_groups.
        counts: Pairs of each process.
        rank: This process.
    """

    numbers: range
    num_groups: int
    counts: list[int]
    rank: int

    @classmethod
    def dealt_out(cls, num_groups: int, counts: list[int], rank: int, chunk_size: int) -> list[_Groups]:
        """All groups, as many at once as have no more similarities than a block of ``chunk_size`` squared.

        The same in every process, since what they do together is counted in these.
        """
        dealt: list[_Groups] = []
        for group in range(num_groups):
            grown = cls(range(dealt[-1].numbers.start if dealt else 0, group + 1), num_groups, counts, rank)
            same_size = dealt and grown.pairs_of_processes(group) == grown.pairs_of_processes(group - 1)
            pairs = grown.pairs_of_processes(group)
            if same_size and len(grown.numbers) * 4 * max(pairs) * sum(pairs) <= chunk_size**2:
                dealt[-1] = grown
            else:
                dealt.append(cls(range(group, group + 1), num_groups, counts, rank))
        return dealt

    def _first_pair(self, group: int | torch.Tensor, start: int) -> int | torch.Tensor:
        """How far after a pair that belongs to group ``start`` the first one of a group comes."""
        return (group - start) % self.num_groups

    def pairs_of_processes(self, group: int) -> list[int]:
        """How many pairs of a group each process has."""
        starts = [sum(self.counts[:process]) for process in range(len(self.counts))]
        return [
            len(range(self._first_pair(group, start), count, self.num_groups))
            for start, count in zip(starts, self.counts, strict=True)
        ]

    def _pairs(self, start: int, num_pairs: int, device: torch.device) -> torch.Tensor:
        # made on the device, which a list of numbers would have to be copied to
        numbers = torch.arange(self.numbers.start, self.numbers.stop, device=device)[:, None]
        return self._first_pair(numbers, start) + self.num_groups * torch.arange(num_pairs, device=device)

    def mine(self, device: torch.device) -> torch.Tensor:
        """Indices of this process's pairs among its own, shape (groups, pairs)."""
        pairs = self.pairs_of_processes(self.numbers.start)
        return self._pairs(sum(self.counts[: self.rank]), pairs[self.rank], device)

    def others(self, device: torch.device) -> torch.Tensor:
        """Indices of the other processes' pairs among those of all, shape (groups, pairs)."""
        pairs = self.pairs_of_processes(self.numbers.start)
        stop = sum(self.counts[: self.rank + 1])
        before = self._pairs(0, sum(pairs[: self.rank]), device)
        after = stop + self._pairs(stop, sum(pairs[self.rank + 1 :]), device)
        return torch.cat([before, after], dim=1)

    def sums_of_others(self, sums: torch.Tensor) -> torch.Tensor:
        """The log-sums (groups, 2 pairs) of the other processes' embeddings, in the order of :meth:`others`."""
        if len(self.counts) == 1:
            return sums[:, :0]
        sizes = self.pairs_of_processes(self.numbers.start)
        first, last = sum(sizes[: self.rank]), sum(sizes[: self.rank + 1])
        by_pair = sums.unflatten(1, (2, -1)).permute(2, 0, 1)
        gathered = gather_rows(by_pair.flatten(1).contiguous(), sizes).unflatten(1, by_pair.shape[1:])
        return torch.cat([gathered[:first], gathered[last:]]).permute(1, 2, 0).flatten(1)


class _CrossEntropy(torch.autograd.Function):
    """Sum over the own rows of the cross-entropy of the similarities with the paired one.

    The gradient, that of the sum over the rows of all processes, is worked out beside the value, so neither pass ever
    holds more than a block of similarities, and the backward pass has nothing to send. Rows are normalised a few groups
    at a time, where they are in the processor's cache.
    """

    @staticmethod
    def forward(
        context,
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
        for groups in _Groups.dealt_out(num_groups, counts, process_rank(), chunk_size):
            mine, of_others = groups.mine(z_1.device), groups.others(z_1.device)
            own, norms = _normalised([z_1[mine], z_2[mine]], temperature, dtype)
            others, _ = _normalised([all_1[of_others], all_2[of_others]], temperature, dtype)
            similarities = _Similarities(own, others, chunk_size)
            sums = similarities.log_sums()
            paired = own.roll(own.shape[1] // 2, dims=1)
            total += sums.sum() - own.flatten().dot(paired.flatten())
            if any(context.needs_input_grad):
                other_sums = groups.sums_of_others(sums)
                by_own = similarities.gradient(sums, other_sums).sub_(paired, alpha=2)
                along = (own * by_own).sum(dim=2, keepdim=True).mul_(temperature)  # what the normalisation takes away
                by_z = by_own.addcmul_(own, along, value=-1).div_(norms * temperature**0.5)
                gradients[0][mine], gradients[1][mine] = by_z.chunk(2, dim=1)
        context.save_for_backward(*gradients)
        context.dtype = z_1.dtype
        return total

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context, gradient: torch.Tensor):
        by_1, by_2 = ((gradient * by_z).to(context.dtype) for by_z in context.saved_tensors)
        return by_1, by_2, None, None, None, None


def _normalised(
    parts: Sequence[torch.Tensor], temperature: float, dtype: torch.dtype
) -> tuple[torch.Tensor, torch.Tensor]:
    """Joined rows of norm temperature^-1/2, whose inner products are similarities over temperature; their norms."""
    rows = torch.cat(list(parts), dim=1).to(dtype)
    norms = torch.linalg.vector_norm(rows, dim=2, keepdim=True).clamp_min_(SMALLEST_NORM)
    return rows / (norms * temperature**0.5), norms


def number_of_groups(num_pairs: int, negatives: int | None) -> int:
    """Groups that the pairs are dealt out to, so that none has more than the wanted negatives, nor one pair alone."""
    if negatives is None:
        return 1
    pairs_per_group = max(2, (negatives + 2) // 2)
    return max(1, min(math.ceil(num_pairs / pairs_per_group), num_pairs // 2))


def info_nce(
    z_1: torch.Tensor,
    z_2: torch.Tensor,
    temperature: float = 0.5,
    chunk_size: int = 1024,
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
        total = _CrossEntropy.apply(z_1, z_2, counts, temperature, chunk_size, num_groups)
        return total * len(counts) / (2 * sum(counts))


class InfoNCELoss(nn.Module):
    """Module of :func:`info_nce`."""

    def __init__(self, temperature: float = 0.5, chunk_size: int = 1024, negatives: int | None = None):
        super().__init__()
        self.temperature = temperature
        self.chunk_size = chunk_size
        self.negatives = negatives

    def forward(self, z_1: torch.Tensor, z_2: torch.Tensor) -> torch.Tensor:
        """See :func:`info_nce`."""
        return info_nce(z_1, z_2, self.temperature, self.chunk_size, self.negatives)
