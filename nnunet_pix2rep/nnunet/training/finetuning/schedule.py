"""The learning rates of fine-tuning over the training."""

from __future__ import annotations

import torch

POLYNOMIAL_EXPONENT = 0.9  # nnunetv2 2.8.1, training/lr_scheduler/polylr.py


class FinetuningSchedule:
    """Learning rates of a backbone (group 0) and of segmentation layers (group 1) over the training.

    Args:
        optimizer: Has these two parameter groups.
        peak_rates: Their highest rates.
        num_epochs: Length of the training.
        head_first_fraction: Part of it in which the backbone rests.
        warmup_fraction: Part of it, after that, in which the backbone's rate rises.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        peak_rates: tuple[float, float],
        num_epochs: int,
        head_first_fraction: float,
        warmup_fraction: float,
    ):
        self.optimizer = optimizer
        self.peak_rates = peak_rates
        self.num_epochs = num_epochs
        self.head_first_fraction = head_first_fraction
        self.warmup_fraction = warmup_fraction
        self.step(0)

    def step(self, epoch: float) -> None:
        """Sets the rates for a point of time in the training, in epochs from its start."""
        factors = finetuning_factors(epoch / self.num_epochs, self.head_first_fraction, self.warmup_fraction)
        for group, peak, factor in zip(self.optimizer.param_groups, self.peak_rates, factors, strict=True):
            group["lr"] = peak * factor


def finetuning_factors(progress: float, head_first_fraction: float, warmup_fraction: float) -> tuple[float, float]:
    """Factors of the backbone's and the segmentation layers' learning rate, 0 to 1, at a progress from 0 to 1."""
    warm = head_first_fraction + warmup_fraction
    if progress < head_first_fraction:
        return 0.0, 1.0
    if progress < warm:
        return (progress - head_first_fraction) / warmup_fraction, 1.0
    decayed = max(0.0, 1 - (progress - warm) / (1 - warm)) ** POLYNOMIAL_EXPONENT if warm < 1 else 1.0
    return decayed, decayed
