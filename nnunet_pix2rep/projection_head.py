"""The projection head: a pixel-wise MLP, dropped after pretraining."""

from __future__ import annotations

import torch
from torch import nn


class ProjectionHead(nn.Sequential):
    """Linear, BatchNorm, ReLU, Linear: a 1x1-convolution head (Pix2Rep) applied to sampled pixels only.

    Args:
        in_channels: Channels of the pixel features.
        hidden_channels: Channels in between.
        out_channels: Channels of the embedding.
    """

    def __init__(self, in_channels: int, hidden_channels: int = 256, out_channels: int = 256):
        super().__init__(
            nn.Linear(in_channels, hidden_channels, bias=False),  # BatchNorm has the bias
            nn.BatchNorm1d(hidden_channels),
            nn.ReLU(inplace=True),
            nn.Linear(hidden_channels, out_channels),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Pixel features, shape (N, C), to embeddings, shape (N, d)."""
        return super().forward(features)
