"""Sums and gathers over processes that gradients flow through, so that a loss in plain autograd is exact under DDP.

Without an initialized process group they return their input. A loss that every process works out from what these give
is the loss of the joined batch, the same in every process. Going back they add up the gradients of all processes, and
DistributedDataParallel takes the mean over as many: that leaves the gradient of one process with the joined batch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import distributed
from torch.nn.functional import pad


def is_distributed() -> bool:
    """Whether several processes train together."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def number_of_processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if is_distributed() else 1


def process_rank() -> int:
    """The rank of this process; 0 where there is only one."""
    return distributed.get_rank() if is_distributed() else 0


class _Sum(torch.autograd.Function):
    @staticmethod
    def forward(_context: Any, values: torch.Tensor) -> torch.Tensor:
        return _summed(values)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(_context: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _summed(gradient)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
        start = sum(counts[: process_rank()])
        context.mine = slice(start, start + len(rows))
        padded = pad(rows, (0, 0, 0, max(counts) - len(rows))).contiguous()
        gathered = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(gathered, padded)
        return torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return _summed(gradient)[context.mine], None


def _summed(values: torch.Tensor) -> torch.Tensor:
    total = values.clone(memory_format=torch.contiguous_format)
    distributed.all_reduce(total)
    return total


def all_reduce_sum(values: torch.Tensor) -> torch.Tensor:
    """Sum over processes; any shape."""
    return _Sum.apply(values) if is_distributed() else values


def numbers_of_rows(rows: torch.Tensor) -> list[int]:
    """How many rows each process has, in order of rank; the one thing that makes processes wait for their devices."""
    if not is_distributed():
        return [len(rows)]
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, torch.full((1,), len(rows), device=rows.device))
    return torch.cat(counts).tolist()


def gather_rows(rows: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Concatenates the rows of all processes, whose numbers may differ.

    Args:
        rows: Shape (n, d).
        counts: Number of rows of each process, in order of rank.

    Returns:
        Shape (N, d) with the processes in order of rank.
    """
    return rows if len(counts) == 1 else _Gather.apply(rows, counts)
