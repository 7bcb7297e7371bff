"""When the diagnostics of a pretraining call for a warning.

docs/explanation/diagnostics.md says where the thresholds come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnunet_pix2rep.config import PretrainingConfig

PATIENCE = 3
"""Epochs in a row for which a threshold must be crossed."""

MIN_EFFECTIVE_RANK = 5.0
MIN_SHARE_OF_CHANNELS = 0.25  # the rank that a narrow head can have is no more than its width
MAX_DEAD_DIMENSIONS = 0.5
MAX_UNIFORMITY = -0.5
MIN_RETRIEVAL_OVER_CHANCE = 1.5
MAX_INTENSITY_R2 = 0.5
MAX_POSITION_R2 = 0.5

ADVICE = {
    "collapse": (
        "The embeddings collapse: they hardly differ from pixel to pixel, and fine-tuning will not gain from them. "
        "Stop, and start again with a lower pretraining.optimization.initial_lr (now {optimization.initial_lr}), with "
        "pretraining.info_nce.temperature near 0.5 for InfoNCE (now {info_nce.temperature}), or with more "
        "pretraining.sampling.num_points (now {sampling.num_points})."
    ),
    "intensity": (
        "The embedding of a pixel tells its intensity in the other view: pairs may be found by brightness instead of "
        "anatomy. Make the views differ more in intensity: raise in pretraining.views "
        "gamma_probability (now {views.gamma_probability}), contrast_probability (now {views.contrast_probability}), "
        "inversion_probability (now {views.inversion_probability}) or bias_field_probability (now "
        "{views.bias_field_probability})."
    ),
    "position": (
        "The embedding of a pixel tells its position in the other view: pairs may be found by their place instead of "
        "anatomy. Make the views differ more in geometry: widen in pretraining.views rotation_degrees (now "
        "{views.rotation_degrees}), zoom (now {views.zoom}), translation (now {views.translation}) or mirror_axes (now "
        "{views.mirror_axes})."
    ),
}


@dataclass(frozen=True)
class PretrainingWarning:
    """A warning about a pretraining.

    Attributes:
        kind: ``collapse``, ``intensity`` or ``position``.
        epoch: The epoch, counted from 0, at whose end it is given.
        crossed: Diagnostic -> its value, of those beyond their threshold.
        message: What it means and what to do.
    """

    kind: str
    epoch: int
    crossed: dict[str, float]
    message: str


def crossed_thresholds(
    diagnostics: Mapping[str, float], num_rows: int, num_channels: int
) -> dict[str, dict[str, float]]:
    """Which diagnostics of an epoch lie beyond their thresholds.

    Args:
        diagnostics: Name -> value.
        num_rows: Pixel pairs that each batch's diagnostics are taken from; chance retrieval is one over that.
        num_channels: Channels of the embeddings.

    Returns:
        Kind of warning -> diagnostic -> value; kinds without any are left out. A value that is NaN crosses nothing.
    """
    min_rank = min(MIN_EFFECTIVE_RANK, MIN_SHARE_OF_CHANNELS * num_channels)
    beyond = {
        "collapse": {
            "effective_rank": diagnostics["effective_rank"] < min_rank,
            "dead_dimensions": diagnostics["dead_dimensions"] > MAX_DEAD_DIMENSIONS,
            "uniformity": diagnostics["uniformity"] > MAX_UNIFORMITY,
            "retrieval_accuracy": diagnostics["retrieval_accuracy"] < MIN_RETRIEVAL_OVER_CHANCE / num_rows,
        },
        "intensity": {"intensity_r2": diagnostics["intensity_r2"] > MAX_INTENSITY_R2},
        "position": {"position_r2": diagnostics["position_r2"] > MAX_POSITION_R2},
    }
    crossed = {
        kind: {name: float(diagnostics[name]) for name, is_beyond in names.items() if is_beyond}
        for kind, names in beyond.items()
    }
    return {kind: values for kind, values in crossed.items() if values}


def phase_of(epoch: int, num_epochs: int) -> str:
    """``start`` (the first tenth), ``middle`` or ``end`` (the last tenth) of a training."""
    if epoch < num_epochs // 10:
        return "start"
    return "end" if epoch >= num_epochs - num_epochs // 10 else "middle"


def find_warnings(
    history: Mapping[str, Sequence[float]], num_epochs: int, num_rows: int, settings: PretrainingConfig
) -> list[PretrainingWarning]:
    """All warnings of a training so far: one of each kind in each phase, once it has lasted for some epochs.

    A function of what is logged alone, so that a continued training neither repeats nor forgets a warning.

    Args:
        history: Diagnostic -> a value per epoch. Epochs that not all of them have are left out.
        num_epochs: Length of the whole training.
        num_rows: See :func:`crossed_thresholds`.
        settings: What the advice refers to.
    """
    names = ("effective_rank", "dead_dimensions", "uniformity", "retrieval_accuracy", "intensity_r2", "position_r2")
    epochs = zip(*(history[name] for name in names), strict=False)
    crossed = [
        crossed_thresholds(dict(zip(names, values, strict=True)), num_rows, settings.head.channels) for values in epochs
    ]
    warnings, given = [], set()
    for epoch in range(PATIENCE - 1, len(crossed)):
        for kind, values in crossed[epoch].items():
            lasting = all(kind in crossed[earlier] for earlier in range(epoch - PATIENCE + 1, epoch))
            occasion = (kind, phase_of(epoch, num_epochs))
            if lasting and occasion not in given:
                given.add(occasion)
                advice = ADVICE[kind].format(**vars(settings))
                warnings.append(PretrainingWarning(kind, epoch, values, advice))
    return warnings
