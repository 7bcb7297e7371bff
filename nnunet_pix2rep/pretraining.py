"""The training objective: views and a network in, loss and diagnostics out. Knows neither files nor nnU-Net."""

from __future__ import annotations

import math

import torch
from torch import nn

from nnunet_pix2rep.config import PretrainingConfig
from nnunet_pix2rep.projection_head import ProjectionHead
from nnunet_pix2rep.sampling import features_at_points


class PixelEmbedder(nn.Module):
    """A feature network and a projection head that is applied to sampled pixels only.

    Args:
        feature_network: Takes images (B, C, *S) to a list of feature maps (B, C_i, *S_i), which all span the image. The
            features of a pixel are those of all maps at its place (a hypercolumn).
        num_channels: Sum of the C_i.
        config: Sizes of the projection head.
    """

    def __init__(self, feature_network: nn.Module, num_channels: int, config: PretrainingConfig):
        super().__init__()
        self.feature_network = feature_network
        self.head = ProjectionHead(num_channels, config.head.hidden_channels, config.head.channels)

    def pixel_features(self, images: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Features before the projection; (B, C, *S) and (B, m, D) to (B, m, sum of C_i)."""
        return torch.cat(
            [features_at_points(feature_map, points) for feature_map in self.feature_network(images)], dim=2
        )

    def forward(self, images: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Embeddings of the pixels at ``points``.

        Args:
            images: Shape (B, C, *S), float.
            points: Normalized coordinates, shape (B, m, D).

        Returns:
            Shape (B * m, d), image by image.
        """
        return self.head.at_points(self.feature_network(images), points)


def build_adamw(network: nn.Module, lr: float, weight_decay: float, device: torch.device) -> torch.optim.AdamW:
    """AdamW over all weights that are trained."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    # Fused: one pass over all weights, and under AMP the decision to skip a step stays on the device.
    return torch.optim.AdamW(trained, lr=lr, weight_decay=weight_decay, fused=device.type in ("cpu", "cuda"))


class WarmupCosineSchedule:
    """Learning rate that rises linearly and then falls to zero along half a cosine.

    Has the interface of nnU-Net's own PolyLRScheduler (nnunetv2 2.8.1, training/lr_scheduler/polylr.py), but may be
    stepped by fractions of an epoch.

    Args:
        optimizer: Its parameter groups all get the same rate.
        initial_lr: The peak.
        num_epochs: Length of the training.
        warmup_fraction: Part of it in which the rate rises.
    """

    def __init__(self, optimizer: torch.optim.Optimizer, initial_lr: float, num_epochs: int, warmup_fraction: float):
        self.optimizer = optimizer
        self.initial_lr = initial_lr
        self.num_epochs = num_epochs
        self.warmup_fraction = warmup_fraction
        self.step(0)

    def step(self, epoch: float) -> None:
        """Sets the rate for a point of time in the training, in epochs from its start."""
        rate = self.initial_lr * warmup_cosine(epoch / self.num_epochs, self.warmup_fraction)
        for group in self.optimizer.param_groups:
            group["lr"] = rate


def warmup_cosine(progress: float, warmup_fraction: float) -> float:
    """The factor of the learning rate, 0 to 1, at a progress from 0 to 1."""
    if progress < warmup_fraction:
        return progress / warmup_fraction
    after_warmup = (progress - warmup_fraction) / (1 - warmup_fraction)
    return 0.5 * (1 + math.cos(math.pi * min(after_warmup, 1.0)))
