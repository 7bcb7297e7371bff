"""Signs of shortcut learning: how much of what an embedding should not depend on can be read from it linearly.

The probes are linear models (Alain and Bengio 2016, arXiv 1610.01644) that are fitted on some images and judged on
others: within one image every smooth embedding tells where it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.linear_model import Ridge
from sklearn.metrics import r2_score
from sklearn.model_selection import GroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from nnunet_pix2rep.sampling import features_at_points

MAX_FOLDS = 5
RIDGE_PENALTY = 10.0


@dataclass(frozen=True)
class ProbeRows:
    """Embedded pixels of one or several batches, on the CPU.

    Attributes:
        embeddings: Shape (n, d), float32.
        intensities: Shape (n, C): the network's input at the pixels.
        positions: Shape (n, D): where the pixels lie in their view, -1 to 1 along each axis.
        images: Shape (n,), text: the case that each pixel belongs to.
    """

    embeddings: torch.Tensor
    intensities: torch.Tensor
    positions: torch.Tensor
    images: np.ndarray

    @classmethod
    def of_batch(
        cls, embeddings: torch.Tensor, views: torch.Tensor, points: torch.Tensor, cases: Sequence[str], max_rows: int
    ) -> ProbeRows:
        """At most ``max_rows`` evenly spaced pixels of a batch.

        Args:
            embeddings: Shape (B * m, d), image by image.
            views: The network's input, shape (B, C, *S).
            points: The embedded pixels, normalised, shape (B, m, D).
            cases: The case of each of the B views.
            max_rows: Number of pixels to keep.
        """
        per_view = points.shape[1]
        rows = torch.linspace(0, len(embeddings) - 1, min(max_rows, len(embeddings)), device=embeddings.device).long()
        intensities = features_at_points(views, points).flatten(0, 1)
        return cls(
            embeddings[rows].float().cpu(),
            intensities[rows].float().cpu(),
            points.flatten(0, 1)[rows].float().cpu(),
            np.array(cases, dtype=str)[(rows // per_view).cpu().numpy()],
        )

    @classmethod
    def joined(cls, parts: Sequence[ProbeRows]) -> ProbeRows:
        """The rows of all parts."""
        tensors = (
            torch.cat([getattr(part, name) for part in parts]) for name in ("embeddings", "intensities", "positions")
        )
        return cls(*tensors, np.concatenate([part.images for part in parts]))


def held_out_r2(features: torch.Tensor, targets: torch.Tensor, groups: np.ndarray) -> float:
    """How well a ridge regression predicts targets of groups that it was not fitted on.

    Args:
        features: Shape (n, d), float.
        targets: Shape (n, k), float.
        groups: Shape (n,): what must not be on both sides, such as the image.

    Returns:
        The coefficient of determination, mean over the targets, cross-validated in up to five folds of groups: 1 is
        perfect, 0 no better than the mean (also what is worse counts as 0). NaN where there are fewer than two groups,
        or values that are not finite.
    """
    num_groups = len(np.unique(groups))
    if num_groups < 2 or not (torch.isfinite(features).all() and torch.isfinite(targets).all()):
        return math.nan
    model = make_pipeline(StandardScaler(), Ridge(alpha=RIDGE_PENALTY))
    folds = GroupKFold(min(MAX_FOLDS, num_groups))
    predicted = cross_val_predict(model, features.double().numpy(), targets.double().numpy(), groups=groups, cv=folds)
    return max(0.0, float(r2_score(targets.double().numpy(), predicted.reshape(targets.shape))))
