"""What every loss between paired embeddings asks of its input."""

from __future__ import annotations

import torch


def check_pairs(z_1: torch.Tensor, z_2: torch.Tensor) -> None:
    """Raises ValueError unless both are (N, d) of equal shape with at least two rows."""
    if z_1.ndim != 2 or z_1.shape != z_2.shape or len(z_1) < 2:
        raise ValueError(
            f"paired embeddings must have equal shapes (N, d) with N of at least 2, but have {tuple(z_1.shape)} and "
            f"{tuple(z_2.shape)}"
        )
