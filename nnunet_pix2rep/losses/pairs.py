"""What all losses between paired embeddings have in common. A new loss: docs/how-to/extend/add-a-loss.md."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, ClassVar

import torch
from torch import nn

from nnunet_pix2rep.config import PretrainingConfig


class PairLoss(nn.Module):
    """A loss between paired pixels, which a pretraining trainer names as its ``loss_class``.

    Its ``forward`` takes two views (N, d), row i of one paired with row i of the other, and returns a scalar. Under
    torch.distributed the mean over the processes must be the loss of the joined batch, and the gradients those of the
    sum over the processes; what is built of :mod:`nnunet_pix2rep.losses.distributed` is so by itself.
    """

    name: ClassVar[str]
    """What the loss is called in checkpoints, reports and settings."""

    @classmethod
    def from_config(cls, config: PretrainingConfig) -> PairLoss:
        """The loss with its part of the settings, whose keys are its arguments.

        Raises:
            NotImplementedError: the settings have no such part.
        """
        if not hasattr(config, cls.name):
            raise NotImplementedError(f"{cls.__name__} needs a part {cls.name!r} in PretrainingConfig")
        return cls(**vars(getattr(config, cls.name)))


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
