"""Sums and gathers over processes that gradients flow through.

Without an initialised process group both functions return their input. In the backward pass each adds up the gradients
of all processes; together with the averaging of DistributedDataParallel this makes a loss that every process computes
from the joined batch (or, as a mean over its own rows times the number of processes, its share of it) exact.
"""

from __future__ import annotations

import torch
from torch import distributed


def is_distributed() -> bool:
    """Whether several processes train together."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


class _AllReduceSum(torch.autograd.Function):
    @staticmethod
    def forward(_context, values: torch.Tensor) -> torch.Tensor:
        values = values.clone()
        distributed.all_reduce(values)
        return values

    @staticmethod
    def backward(_context, gradient: torch.Tensor) -> torch.Tensor:
        gradient = gradient.clone()
        distributed.all_reduce(gradient)
        return gradient


class _AllGatherRows(torch.autograd.Function):
    @staticmethod
    def forward(context, rows: torch.Tensor, counts: list[int]) -> torch.Tensor:
        rank = distributed.get_rank()
        context.start, context.stop = sum(counts[:rank]), sum(counts[: rank + 1])
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in counts]
        distributed.all_gather(gathered, padded)
        return torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])

    @staticmethod
    def backward(context, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        gradient = gradient.clone()
        distributed.all_reduce(gradient)
        return gradient[context.start : context.stop], None


def all_reduce_sum(values: torch.Tensor) -> torch.Tensor:
    """Sum over processes; any shape."""
    return _AllReduceSum.apply(values) if is_distributed() else values


def all_gather_rows(rows: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Concatenates the rows of all processes, whose numbers may differ.

    Args:
        rows: Shape (n, d).

    Returns:
        Shape (N, d) with the processes in order of rank, and the index of this process's first row in it.
    """
    if not is_distributed():
        return rows, 0
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, torch.tensor([len(rows)], device=rows.device))
    sizes = [int(count) for count in counts]
    return _AllGatherRows.apply(rows, sizes), sum(sizes[: distributed.get_rank()])
