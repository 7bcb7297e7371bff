"""What the user asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch

from nnunet_pix2rep.annotation.selectors import DEFAULT_SELECTOR, FEATURE_SELECTORS


@dataclass(frozen=True)
class Click:
    """A voxel of the structure.

    Attributes:
        case: Its scan.
        point: (x, y[, z]) in voxels of the raw image, from 0.
    """

    case: str
    point: tuple[int, ...]


@dataclass(frozen=True)
class SuggestSettings:
    """What is asked for.

    Attributes:
        budget: Slices, or whole scans.
        unit: ``slices`` or ``cases``.
        selector: Name of a selector.
        seed: Of all random choices.
        click: A voxel of the structure.
        weighting: One of ``pool_features.WEIGHTINGS``; None: ``structure`` where a click or annotated foreground shows
            it, else ``all``.
        axis: The raw axis that slices are counted along, for 3D configurations; None: that of the largest spacing.
        fold: Its validation patients are left out.
        checkpoint: The pretraining; None: the one of these plans.
        features: Which features; None: the default of :func:`load_feature_model`.
        draft: Whether chosen slices are filled with a segmentation.
        device: Where features are computed.
    """

    budget: int
    unit: str = "slices"
    selector: str = DEFAULT_SELECTOR
    seed: int = 0
    click: Click | None = None
    weighting: str | None = None
    axis: int | None = None
    fold: int | str = "all"
    checkpoint: Path | None = None
    features: str | None = None
    draft: bool = False
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def needs_features(self) -> bool:
        """Whether anything is asked for that features are needed for."""
        return bool(self.selector in FEATURE_SELECTORS or self.checkpoint or self.click or self.weighting)
