"""Time and memory of functions: contestants take turns, so that what else the machine does hits all of them alike."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile
from tqdm import tqdm

from nnunet_pix2rep.speed.timing.timer import Timer, synchronize

Contestants = Mapping[str, Callable[[], Any]]


def alternate(
    contestants: Contestants,
    repetitions: int,
    timer: Timer,
    title: str = "",
    warm_up: int = 1,
) -> dict[str, list[float]]:
    """Times functions in turn: all of them once, then all again.

    Args:
        contestants: Functions by name.
        repetitions: Timed calls of each.
        timer: Takes the time of a call.
        title: Of the progress bar.
        warm_up: Calls of each before the timed ones.

    Returns:
        Seconds of every timed call, by name.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for repetition in tqdm(range(-warm_up, repetitions), desc=title, leave=False, disable=None):
        for name, function in contestants.items():
            taken = timer.seconds(function)
            if repetition >= 0:
                seconds[name].append(taken)
    return seconds


def medians(seconds: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The median of each contestant."""
    return {name: statistics.median(values) for name, values in seconds.items()}


def median_ratio(numerator: Sequence[float], denominator: Sequence[float]) -> float:
    """The median over the repetitions of the ratio of two contestants, which were timed right after one another."""
    return statistics.median(above / below for above, below in zip(numerator, denominator, strict=True))


def peak_memory(function: Callable[[], Any], device: torch.device) -> int:
    """Bytes that torch allocates at most at a time while a function runs, beyond what it had allocated before.

    On CUDA devices torch counts them. On a CPU they are added up from the allocations that the profiler records (events
    named ``[memory]``, as read in torch 2.14); unlike the memory of the process, this does not depend on what the
    system's allocator keeps.

    Raises:
        ValueError: another kind of device.
    """
    if device.type == "cuda":
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        function()
        synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    if device.type != "cpu":
        raise ValueError(f"peak memory is known for CPU and CUDA devices, not for {device.type}")
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    changes = [
        (event.start_ns(), event.nbytes())
        for event in profiler.profiler.kineto_results.events()
        if event.name() == "[memory]"
    ]
    held = np.cumsum([0, *(change for _, change in sorted(changes, key=lambda item: item[0]))])
    # Above the lowest level so far: what the function first frees of earlier results is no memory that it can do with.
    return int((held - np.minimum.accumulate(held)).max())


def fit_exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent p of ``cost = c * size^p``, by least squares in logarithms.

    Raises:
        ValueError: fewer than two sizes.
    """
    if len(sizes) < 2:
        raise ValueError("an exponent needs at least two sizes")
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
