"""The groups within which pixel InfoNCE compares pairs, dealt out over the pairs of all processes."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from nnunet_pix2rep.losses.distributed import gather_rows


def number_of_groups(num_pairs: int, negatives: int | None) -> int:
    """Groups that the pairs are dealt out to, so that none has more than the wanted negatives, nor one pair alone."""
    if negatives is None:
        return 1
    pairs_per_group = max(2, (negatives + 2) // 2)
    return max(1, min(math.ceil(num_pairs / pairs_per_group), num_pairs // 2))


@dataclass(frozen=True)
class PairGroups:
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
    def dealt_out(cls, num_groups: int, counts: list[int], rank: int, chunk_size: int) -> list[PairGroups]:
        """All groups, as many at once as have no more similarities than a block of ``chunk_size`` squared.

        The same in every process, since what they do together is counted in these.
        """
        dealt: list[PairGroups] = []
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

    def mine(self, rows: torch.Tensor) -> torch.Tensor:
        """The rows (N, d) of this process's pairs in these groups, shape (groups, pairs, d); may be a view."""
        view = self._view(rows)
        return rows[self._mine(rows.device)] if view is None else view

    def set_mine(self, rows: torch.Tensor, values: torch.Tensor) -> None:
        """Puts values (groups, pairs, d) to where :meth:`mine` takes them from."""
        view = self._view(rows)
        if view is None:
            rows[self._mine(rows.device)] = values
        else:
            view.copy_(values)

    def _view(self, rows: torch.Tensor) -> torch.Tensor | None:
        """:meth:`mine` without a copy, where the pairs of this process begin with group 0 and end with the last."""
        if sum(self.counts[: self.rank]) % self.num_groups or self.counts[self.rank] % self.num_groups:
            return None
        return rows.unflatten(0, (-1, self.num_groups))[:, self.numbers.start : self.numbers.stop].transpose(0, 1)

    def _mine(self, device: torch.device) -> torch.Tensor:
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
