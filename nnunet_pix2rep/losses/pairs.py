"""What all losses between paired embeddings have in common."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch


def check_pairs(z_1: torch.Tensor, z_2: torch.Tensor) -> None:
    """Raises ValueError unless both are (N, d) of equal shape with at least two rows."""
    if z_1.ndim != 2 or z_1.shape != z_2.shape or len(z_1) < 2:
        raise ValueError(
            f"paired embeddings must have equal shapes (N, d) with N of at least 2, but have {tuple(z_1.shape)} and "
            f"{tuple(z_2.shape)}"
        )


def in_float32(loss: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Decorates a loss of two views: its input is checked, and computed in float32 at least, also under autocast.

    Sums over tens of thousands of pixels overflow in float16.
    """

    @wraps(loss)
    def checked(z_1: torch.Tensor, z_2: torch.Tensor, *arguments: Any, **settings: Any) -> torch.Tensor:
        check_pairs(z_1, z_2)
        dtype = torch.promote_types(z_1.dtype, torch.float32)
        with torch.autocast(z_1.device.type, enabled=False):
            return loss(z_1.to(dtype), z_2.to(dtype), *arguments, **settings)

    return checked
