"""Which slices to annotate: pure functions with one interface, see :data:`Selector`."""

from __future__ import annotations

from nnunet_pix2rep.annotation.selectors.clusters import select_kmeans, select_typical
from nnunet_pix2rep.annotation.selectors.coverage import select_coverage
from nnunet_pix2rep.annotation.selectors.pool import Selector, SlicePool
from nnunet_pix2rep.annotation.selectors.simple import (
    select_fixed_interval,
    select_middle,
    select_one_per_patient,
    select_random,
    select_random_patients,
)

SELECTORS: dict[str, Selector] = {
    "random": select_random,
    "random_patients": select_random_patients,
    "fixed_interval": select_fixed_interval,
    "middle": select_middle,
    "one_per_patient": select_one_per_patient,
    "typical": select_typical,
    "coverage": select_coverage,
    "kmeans": select_kmeans,
}
FEATURE_SELECTORS = ("typical", "coverage", "kmeans")
DEFAULT_SELECTOR = "one_per_patient"  # docs/experiments/diary.md, 12: no selector by features was better
STRUCTURE_SELECTOR = "coverage"
"""The default where a voxel of the structure is given: only features find the slices that show it."""

__all__ = [
    "DEFAULT_SELECTOR",
    "FEATURE_SELECTORS",
    "SELECTORS",
    "STRUCTURE_SELECTOR",
    "Selector",
    "SlicePool",
]
