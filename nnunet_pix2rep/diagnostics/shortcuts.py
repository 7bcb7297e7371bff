"""Signs of shortcut learning: what the two views share besides the tissue, and the embedding has taken up.

A pair of views should have nothing in common but the anatomy. Where the transforms leave more in common, such as the
intensity of a pixel or its position in the view, the loss can be lowered by that alone (Robinson et al. 2021, "Can
contrastive learning avoid shortcut solutions?", arXiv 2106.11230). How much of it is in the embedding is measured with
linear probes (Alain and Bengio 2016, arXiv 1610.01644): a ridge regression from the embedding of a pixel in view 1 to
its intensity, and to its position, in view 2. It is fitted on some images and judged on others, since within one image
every smooth embedding tells where it is.
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

SHORTCUTS = ("intensity_r2", "position_r2")
MAX_FOLDS = 5
RIDGE_PENALTY = 10.0


@dataclass(frozen=True)
class ProbeRows:
    """Pixels of one or several batches, on the CPU.

    Attributes:
        embeddings: Of the pixels in view 1, shape (n, d), float32.
        intensities: The network's input at the paired pixels of view 2, shape (n, C).
        positions: Where these lie in view 2, -1 to 1 along each axis, shape (n, D).
        cases: The case that each pixel is of, shape (n,), text.
        patches: A number for each patch, shape (n,).
    """

    embeddings: torch.Tensor
    intensities: torch.Tensor
    positions: torch.Tensor
    cases: np.ndarray
    patches: np.ndarray

    @classmethod
    def of_batch(
        cls, z_1: torch.Tensor, views_2: torch.Tensor, points_2: torch.Tensor, cases: Sequence[str], max_rows: int = 256
    ) -> ProbeRows:
        """At most ``max_rows`` evenly spaced pixels of a batch.

        Args:
            z_1: Embeddings of view 1, shape (B * m, d), image by image.
            views_2: Views 2, the network's input, shape (B, C, *S).
            points_2: The paired pixels in them, normalized coordinates, shape (B, m, D).
            cases: The case of each of the B patches.
            max_rows: Number of pixels to keep.
        """
        rows = torch.linspace(0, len(z_1) - 1, min(max_rows, len(z_1)), device=z_1.device).long()
        patches = (rows // points_2.shape[1]).cpu().numpy()
        intensities = features_at_points(views_2, points_2).flatten(0, 1)
        return cls(
            embeddings=z_1[rows].float().cpu(),
            intensities=intensities[rows].float().cpu(),
            positions=points_2.flatten(0, 1)[rows].float().cpu(),
            cases=np.array(cases, dtype=str)[patches],
            patches=patches,
        )

    @classmethod
    def joined(cls, parts: Sequence[ProbeRows]) -> ProbeRows:
        """The rows of all parts; patches are renumbered."""
        starts = np.cumsum([0, *(part.patches.max() + 1 for part in parts)])
        return cls(
            embeddings=torch.cat([part.embeddings for part in parts]),
            intensities=torch.cat([part.intensities for part in parts]),
            positions=torch.cat([part.positions for part in parts]),
            cases=np.concatenate([part.cases for part in parts]),
            patches=np.concatenate([part.patches + start for part, start in zip(parts, starts, strict=False)]),
        )

    @property
    def groups(self) -> np.ndarray:
        """What is never on both sides of a fit: the case or, where there is but one, the patch."""
        return self.cases if len(np.unique(self.cases)) > 1 else self.patches


def probe_shortcuts(rows: ProbeRows) -> dict[str, float]:
    """The coefficients of determination :data:`SHORTCUTS`, see :func:`held_out_r2`."""
    intensities, positions = rows.intensities, rows.positions
    scores = held_out_r2(rows.embeddings, torch.cat([intensities, positions], dim=1), rows.groups)
    num_channels = intensities.shape[1]
    return {"intensity_r2": _mean_score(scores[:num_channels]), "position_r2": _mean_score(scores[num_channels:])}


def held_out_r2(features: torch.Tensor, targets: torch.Tensor, groups: np.ndarray) -> np.ndarray:
    """How well a ridge regression predicts targets of groups that it was not fitted on.

    Args:
        features: Shape (n, d), float.
        targets: Shape (n, k), float.
        groups: Shape (n,): what must not be on both sides, such as the image.

    Returns:
        The coefficient of determination of each target, shape (k,), cross-validated in up to five folds of groups: 1 is
        perfect, 0 as good as the mean, and what is worse than that negative. NaN where there are fewer than two groups,
        or values that are not finite.
    """
    num_groups = len(np.unique(groups))
    if num_groups < 2 or not (torch.isfinite(features).all() and torch.isfinite(targets).all()):
        return np.full(targets.shape[1], math.nan)
    model = make_pipeline(StandardScaler(), Ridge(alpha=RIDGE_PENALTY))
    wanted = targets.double().numpy()
    folds = GroupKFold(min(MAX_FOLDS, num_groups))
    predicted = cross_val_predict(model, features.double().numpy(), wanted, groups=groups, cv=folds)
    return r2_score(wanted, predicted.reshape(wanted.shape), multioutput="raw_values")


def _mean_score(scores: np.ndarray) -> float:
    """The mean; what cannot be predicted counts as 0."""
    return float(np.maximum(scores, 0).mean())
