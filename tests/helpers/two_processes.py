"""Two processes of torch.distributed on the CPU."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import distributed

# Importing torch anew takes each process seconds, but autograd's threads for GPUs do not survive a fork.
START_METHOD = "spawn" if torch.cuda.is_available() else "fork"


def run_in_two_processes(work: Callable[[int], Any], folder: Path) -> list[Any]:
    """What a function of the process's rank returns in each of them; it must be one of a module."""
    torch.multiprocessing.start_processes(_work, (work, folder), nprocs=2, start_method=START_METHOD)
    return [torch.load(folder / f"{rank}.pth") for rank in range(2)]


def _work(rank: int, work: Callable[[int], Any], folder: Path) -> None:
    torch.set_num_threads(1)  # OpenMP's threads do not survive a fork either
    distributed.init_process_group("gloo", init_method=f"file://{folder / 'init'}", rank=rank, world_size=2)
    torch.save(work(rank), folder / f"{rank}.pth")
    distributed.destroy_process_group()
