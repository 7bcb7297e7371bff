"""How near a method comes to full annotation: its Dice as a part of the Dice with everything annotated.

Everything is annotated where all patients outside the test set are labeled, or all of their slices that have labels
(``--budget all``). Of several methods that were trained so, the best one is what all are measured by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnunet_pix2rep.benchmark.report.numbers.aggregation import Scores, Setting
from nnunet_pix2rep.benchmark.report.reading.completeness import number
from nnunet_pix2rep.benchmark.report.reading.results import PATIENTS, BenchmarkResults
from nnunet_pix2rep.benchmark.schema import ALL_SLICES, selector_of


@dataclass(frozen=True)
class ShareData:
    """What one share is computed from, over patients that both tables have.

    Attributes:
        scores: Of a method with a part of the annotation.
        full: Of the best method with all of it.
        full_setting: That method, and how much all is.
    """

    scores: Scores
    full: Scores
    full_setting: Setting

    @property
    def with_most_draws(self) -> Scores:
        """Which of both says what an interval covers."""
        return max(self.scores, self.full, key=lambda scores: len(scores.draws))


def best_full_annotation(benchmark: BenchmarkResults, dice: Mapping[Setting, Scores]) -> Setting | None:
    """The method with the highest Dice of those with everything annotated, and how much that is.

    Of these only those with the most test patients: means over other patients could not be compared.

    Returns:
        None where no method was trained so.
    """
    if benchmark.effort == PATIENTS:
        everyone = benchmark.description.get("num_training_patients")
        full = [setting for setting in dice if setting[1] == everyone]
    else:
        numbers = {setting[1] for setting in dice if selector_of(setting[0]) == ALL_SLICES}
        full = [setting for setting in dice if setting[1] in numbers]
    most = max((dice[setting].num_patients for setting in full), default=0)
    found = [setting for setting in full if dice[setting].num_patients == most > 0]
    return max(found, key=lambda setting: dice[setting].mean, default=None)


def share_data(dice: Mapping[Setting, Scores], full: Setting | None) -> dict[Setting, ShareData]:
    """What was trained with less annotation, each beside the best with all of it, unless that found nothing."""
    if full is None:
        return {}
    found = {}
    for setting, scores in dice.items():
        common = ~np.isnan(scores.patient_means) & ~np.isnan(dice[full].patient_means)
        if setting[1] < full[1] and common.any():
            found[setting] = ShareData(scores.with_patients(common), dice[full].with_patients(common), full)
    return {setting: data for setting, data in found.items() if data.full.mean > 0}


def share_distribution(part: np.ndarray, full: np.ndarray) -> np.ndarray:
    """The share in every resample, of the means of both over the same resamples; shapes (B,), NaN without a whole."""
    return np.divide(part, full, out=np.full_like(part, np.nan), where=full > 0)


def share_row(setting: Setting, data: ShareData, ends: Mapping[str, Any]) -> dict[str, Any]:
    """An entry of ``full_annotation`` in ``results.json``.

    Args:
        setting: What was trained with less annotation.
        data: Its scores, and those of full annotation.
        ends: Of the interval of the share.
    """
    return {
        "method": setting[0],
        "shots": setting[1],
        "draws": list(data.scores.draws),
        "num_patients": data.scores.num_patients,
        "dice": number(data.scores.mean),
        "full_method": data.full_setting[0],
        "full_shots": data.full_setting[1],
        "full_draws": list(data.full.draws),
        "full_dice": number(data.full.mean),
        "share": number(data.scores.mean / data.full.mean),
        **ends,
    }
