"""Seeds of the random generators, and their state, which a resumed training goes on with."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def global_seed(seed: int) -> Iterator[None]:
    """Seeds the global generators of numpy and torch (CPU), which batchgeneratorsv2 draws from, for a while."""
    numpy_state, torch_state = np.random.get_state(), torch.random.get_rng_state()
    np.random.seed(seed % 2**32)
    torch.random.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        np.random.set_state(numpy_state)
        torch.random.set_rng_state(torch_state)


def get_random_state() -> dict[str, Any]:
    """The state of this process's generators, as plain values and tensors."""
    state = np.random.get_state(legacy=False)
    keys, position = state["state"]["key"].tolist(), state["state"]["pos"]
    return {
        "python": random.getstate(),
        "numpy": (state["bit_generator"], keys, position, state["has_gauss"], state["gauss"]),
        "torch": torch.random.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Puts back what :func:`get_random_state` returned."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.random.set_rng_state(state["torch"].cpu())
    if len(state["cuda"]) == (torch.cuda.device_count() if torch.cuda.is_available() else 0):
        torch.cuda.set_rng_state_all([device_state.cpu() for device_state in state["cuda"]])
