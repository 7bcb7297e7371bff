"""Sums and gathers over processes.

Without an initialised process group they return their input. The losses that use them know their own gradients.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import distributed


def is_distributed() -> bool:
    """Whether several processes train together."""
    return distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


def all_reduce_sum(values: torch.Tensor) -> torch.Tensor:
    """Sum over processes; any shape. Gradients do not flow through it."""
    if not is_distributed():
        return values
    values = values.detach().clone()
    distributed.all_reduce(values)
    return values


def number_of_processes() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if is_distributed() else 1


def process_rank() -> int:
    """The rank of this process; 0 where there is only one."""
    return distributed.get_rank() if is_distributed() else 0


def numbers_of_rows(rows: torch.Tensor) -> list[int]:
    """How many rows each process has, in order of rank; the one thing that makes processes wait for their devices."""
    if not is_distributed():
        return [len(rows)]
    counts = [torch.zeros(1, dtype=torch.long, device=rows.device) for _ in range(distributed.get_world_size())]
    distributed.all_gather(counts, torch.full((1,), len(rows), device=rows.device))
    return torch.cat(counts).tolist()


def gather_rows(rows: torch.Tensor, counts: Sequence[int]) -> torch.Tensor:
    """Concatenates the rows of all processes, whose numbers may differ; gradients do not flow through it.

    Args:
        rows: Shape (n, d).
        counts: Number of rows of each process, in order of rank.

    Returns:
        Shape (N, d) with the processes in order of rank.
    """
    if len(counts) == 1:
        return rows
    padded = rows.new_zeros(max(counts), *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    gathered = [torch.empty_like(padded) for _ in counts]
    distributed.all_gather(gathered, padded)
    return torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])
