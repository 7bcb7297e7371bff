"""How the time of a function is taken: by CUDA events on a GPU, by a clock of the host elsewhere."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import torch

Clock = Callable[[], float]
# Processor time, of all threads, is for machines that others use at the same time.
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "processor": time.process_time}


def synchronize(device: torch.device) -> None:
    """Waits until the device has done all that it was asked to."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


class Timer(ABC):
    """Takes the time of functions that run on a device."""

    @abstractmethod
    def seconds(self, function: Callable[[], Any]) -> float:
        """Calls a function, waits for the device, and returns how long it took."""


class HostTimer(Timer):
    """By a clock of the host, which waits for the device before and after.

    Args:
        device: What the functions run on.
        clock: Gives seconds; see ``CLOCKS``.
    """

    def __init__(self, device: torch.device, clock: Clock = time.perf_counter):
        self.device = device
        self.clock = clock

    def seconds(self, function: Callable[[], Any]) -> float:
        """See :meth:`Timer.seconds`."""
        synchronize(self.device)
        start = self.clock()
        function()
        synchronize(self.device)
        return self.clock() - start


class CudaEventTimer(Timer):
    """By two events in the device's stream: what the host does before and after the work is left out.

    Args:
        device: A CUDA device.
    """

    def __init__(self, device: torch.device):
        self.device = device

    def seconds(self, function: Callable[[], Any]) -> float:
        """See :meth:`Timer.seconds`."""
        synchronize(self.device)
        with torch.cuda.device(self.device):
            start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            start.record()
            function()
            end.record()
        synchronize(self.device)
        return start.elapsed_time(end) / 1000  # milliseconds


def make_timer(device: torch.device, clock: str = "wall") -> Timer:
    """Events on a CUDA device, unless the host's processor time is wanted; else a clock of the host.

    Args:
        device: What the functions run on.
        clock: ``wall`` or ``processor``.
    """
    if device.type == "cuda" and clock == "wall":
        return CudaEventTimer(device)
    return HostTimer(device, CLOCKS[clock])
