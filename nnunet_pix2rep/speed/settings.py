"""What ``nnunet_pix2rep speed`` is to measure."""

from __future__ import annotations

from dataclasses import dataclass

from nnunet_pix2rep.speed.subjects.dataset import CONFIGURATIONS
from nnunet_pix2rep.speed.subjects.default_plans import PLANNED_CASES, SHAPE

RATIOS = ("step_overhead", "head_and_loss", "scaling", "fine_tuning", "loader")
PRETRAININGS = ("pretraining", "pretraining_compiled")
PARTS = ("pretraining", *RATIOS, "pretraining_compiled")


@dataclass(frozen=True)
class SpeedSettings:
    """What to measure.

    Attributes:
        dataset: Number or name of a preprocessed dataset; None: a synthetic one in a temporary folder.
        configuration: Of the plans.
        plans_name: The plans; of no effect for the synthetic dataset.
        repetitions: Timed calls of each contestant.
        device: ``cpu``, ``cuda`` or ``mps``.
        parts: Some of ``PARTS``.
        num_batches: Batches that the loader's time is taken of, and training steps of an epoch.
        max_points: Largest number of sampled pixel pairs in ``scaling``.
        settings: Such as ``pretraining.sampling.num_points=1024``, over those of the plans.
        width: Of the synthetic images that ratios are measured on.
        clock: ``wall``, or ``processor``; loaders and epochs are always timed by the wall.
        default_shape: Of the synthetic images that the default plans are made for.
        default_cases: Size of the dataset that they are made for.
        time_limit: Seconds in which the command should end: what would take longer is left out; None: no limit.
    """

    dataset: str | None = None
    configuration: str = CONFIGURATIONS[1]
    plans_name: str = "nnUNetPlans"
    repetitions: int = 5
    device: str = "cpu"
    parts: tuple[str, ...] = RATIOS
    num_batches: int = 25
    max_points: int = 131072
    settings: tuple[str, ...] = ()
    width: int = 128
    clock: str = "wall"
    default_shape: tuple[int, int, int] = SHAPE
    default_cases: int = PLANNED_CASES
    time_limit: float | None = None
