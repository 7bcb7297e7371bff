"""The card: its name, and how busy it is while a command runs."""

from __future__ import annotations

import shutil
import subprocess
import threading
from statistics import mean
from types import TracebackType
from typing import Any

import torch

from nnunet_pix2rep.benchmark.execution.machine import hardware

SECONDS_BETWEEN_LOOKS = 2.0
QUERY = ("nvidia-smi", "--query-gpu=utilization.gpu,memory.used", "--format=csv,noheader,nounits")


def name_of(device: str) -> str:
    """The card's name, or the processor's where everything runs on it."""
    return torch.cuda.get_device_name(0) if device == "cuda" else f"no GPU, {hardware()['processor']}"


class CardWatch:
    """Asks nvidia-smi every two seconds while the ``with`` block runs; knows nothing where there is none."""

    def __init__(self) -> None:
        self._looks: list[tuple[float, float]] = []
        self._has_ended = threading.Event()
        self._thread = threading.Thread(target=self._look_again, daemon=True)

    def __enter__(self) -> CardWatch:
        if shutil.which(QUERY[0]) is not None:
            self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._has_ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def _look_again(self) -> None:
        while not self._has_ended.wait(SECONDS_BETWEEN_LOOKS):
            answer = subprocess.run(QUERY, capture_output=True, encoding="utf-8", check=False)
            if answer.returncode == 0:
                self._looks.append(parse_look(answer.stdout))

    def found(self) -> dict[str, Any]:
        """Mean share of the time in which the card computed, in percent, and its memory in use at most, in MiB."""
        if not self._looks:
            return {}
        busy, memory = zip(*self._looks, strict=True)
        return {"card_busy_percent": round(mean(busy), 1), "card_memory_mib": max(memory)}


def parse_look(text: str) -> tuple[float, float]:
    """Utilization in percent and memory in MiB of the first card in what ``QUERY`` prints."""
    busy, memory = text.splitlines()[0].split(",")
    return float(busy), float(memory)
