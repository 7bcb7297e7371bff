"""Intervals over patients and draws, and paired tests.

Every draw (few-shot subset) is tested on the same patients: the two factors are crossed. Resampling single numbers
would treat the results of one model, or of one patient, as independent and give intervals that are too narrow. So whole
patients and whole draws are resampled, independently of each other (Owen 2007, "The pigeonhole bootstrap", Annals of
Applied Statistics 1(2), doi:10.1214/07-AOAS122): ``scipy.stats.bootstrap`` with two samples, the indices of the
patients and those of the draws.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import stats
from statsmodels.stats.multitest import multipletests

from nnunet_pix2rep.benchmark.report.numbers.aggregation import Scores

Key = TypeVar("Key")
DECIMALS_OF_TIES = 10  # differences that differ by rounding errors alone are ties in the signed-rank test


@dataclass(frozen=True)
class Interval:
    """A confidence interval.

    Attributes:
        low: Lower end.
        high: Upper end.
        covers: What was resampled, ``patients and draws`` or ``patients``.
    """

    low: float
    high: float
    covers: str


@dataclass(frozen=True)
class SignedRank:
    """A two-sided Wilcoxon signed-rank test.

    Attributes:
        statistic: The smaller of the two sums of ranks.
        p_value: Two-sided.
        num_pairs: Patients that took part, those without a difference among them.
        better: Patients with a difference above 0.
        worse: Patients with a difference below 0.
    """

    statistic: float
    p_value: float
    num_pairs: int
    better: int
    worse: int


def bootstrap_means(tables: Mapping[Key, Scores], num_resamples: int, seed: int) -> dict[Key, np.ndarray]:
    """Draws the means of all tables over the same resamples, so that functions of several of them can be formed.

    A resample takes patients with replacement, the same for all tables, and draws with replacement, the same for all
    tables that have the same draws: nested subsets and paired methods stay together. A table with one draw keeps it.

    Args:
        tables: Of P patients each.
        num_resamples: Number of resamples, B.
        seed: Seed of the resampling.

    Returns:
        The mean of every table in every resample, shape (B,); NaN where no value of a resample is defined,
        and for a single patient.
    """
    distinct = {_identity(table): table for table in tables.values()}
    num_patients = next((table.values.shape[1] for table in distinct.values()), 0)
    if num_patients < 2:
        return {key: np.full(num_resamples, np.nan) for key in tables}
    draw_sets = list(dict.fromkeys(table.draws for table in distinct.values() if len(table.draws) > 1))

    def means(patients: np.ndarray, *draws: np.ndarray, axis: int = -1) -> np.ndarray:
        del axis  # always the last; scipy passes it
        patient_counts = _counts(patients, num_patients)
        draw_counts = {key: _counts(index, len(key)) for key, index in zip(draw_sets, draws, strict=True)}
        single = np.ones((len(patients), 1))
        rows = [(table.values, draw_counts.get(table.draws, single)) for table in distinct.values()]
        return np.stack([_weighted_mean(values, counts, patient_counts) for values, counts in rows])

    samples = [np.arange(num_patients), *(np.arange(len(draws)) for draws in draw_sets)]
    resampled = _bootstrap_distribution(samples, means, num_resamples, seed)
    distributions = dict(zip(distinct, resampled, strict=True))
    return {key: distributions[_identity(table)] for key, table in tables.items()}


def _bootstrap_distribution(
    samples: Sequence[np.ndarray], statistic: Callable[..., np.ndarray], num_resamples: int, seed: int
) -> np.ndarray:
    """What ``statistic`` gives for resamples of all samples, drawn independently; shape (statistics, B)."""
    with warnings.catch_warnings():
        # About scipy's own interval, which is not used: it has none where a resample is undefined.
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        result = stats.bootstrap(
            samples,
            statistic,
            n_resamples=num_resamples,
            batch=min(num_resamples, 1000),
            vectorized=True,
            paired=False,
            axis=-1,
            # BCa is undefined for degenerate data and for the unbounded saving factor.
            method="percentile",
            rng=np.random.default_rng(seed),
        )
    return result.bootstrap_distribution


def _identity(table: Scores) -> tuple[tuple[int, ...], bytes]:
    """Equal for equal tables: a curve is often asked for many times."""
    return table.draws, table.values.tobytes()


def _counts(indices: np.ndarray, length: int) -> np.ndarray:
    """How often each of ``length`` elements was drawn: (B, n) indices -> (B, length)."""
    counts = np.zeros((len(indices), length))
    np.add.at(counts, (np.arange(len(indices))[:, None], indices), 1)
    return counts


def _weighted_mean(values: np.ndarray, draw_counts: np.ndarray, patient_counts: np.ndarray) -> np.ndarray:
    """Mean over patients of the means over draws, (S, P) values with (B, S) and (B, P) counts -> (B,)."""
    defined = ~np.isnan(values)
    number = draw_counts @ defined
    per_patient = draw_counts @ np.where(defined, values, 0.0) / np.maximum(number, 1)
    weights = patient_counts * (number > 0)
    total = weights.sum(axis=1)
    return np.where(total > 0, (weights * per_patient).sum(axis=1) / np.maximum(total, 1), np.nan)


def percentile_interval(distribution: np.ndarray, confidence: float) -> tuple[float, float]:
    """The percentile interval of a bootstrap distribution that may hold infinities; NaN takes no part.

    Ends are values of the distribution: between two of which one is infinite, nothing can be interpolated.
    """
    defined = distribution[~np.isnan(distribution)]
    if defined.size == 0:
        return float("nan"), float("nan")
    tail = (1 - confidence) / 2
    low = np.quantile(defined, tail, method="inverted_cdf")
    return float(low), float(np.quantile(defined, 1 - tail, method="inverted_cdf"))


def interval_of(scores: Scores, distribution: np.ndarray, confidence: float) -> Interval | None:
    """The interval of a mean, or None where fewer than two patients leave nothing to resample."""
    if scores.num_patients < 2:
        return None
    covers = "patients and draws" if len(scores.draws) > 1 else "patients"
    return Interval(*percentile_interval(distribution, confidence), covers)


def signed_rank(differences: np.ndarray) -> SignedRank | None:
    """Tests whether paired differences, one per patient, are symmetric about 0.

    ``scipy.stats.wilcoxon``: patients without a difference are dropped (Wilcoxon's own treatment); exact for up to 50
    patients without ties and 13 with ties.

    Args:
        differences: Shape (P,); NaN where a patient has none.

    Returns:
        None where no patient has a difference to test.
    """
    defined = np.round(differences[~np.isnan(differences)], DECIMALS_OF_TIES)
    if defined.size == 0:
        return None
    better, worse = int((defined > 0).sum()), int((defined < 0).sum())
    if better + worse == 0:
        return SignedRank(0.0, 1.0, num_pairs=defined.size, better=0, worse=0)
    # Dropped before: scipy would leave its fast exact distribution because of them.
    result = stats.wilcoxon(defined[defined != 0])
    return SignedRank(float(result.statistic), float(result.pvalue), num_pairs=defined.size, better=better, worse=worse)


def smallest_p_value(num_pairs: int) -> float:
    """The smallest two-sided p-value that the exact signed-rank test can give: all patients better, or all worse.

    >>> smallest_p_value(5), smallest_p_value(10)
    (0.0625, 0.001953125)
    """
    return min(1.0, 2.0 ** (1 - num_pairs))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusts p-values for their number by Holm's step-down method.

    >>> holm([0.01, 0.5, 0.03])
    [0.03, 0.5, 0.06]
    """
    if not len(p_values):
        return []
    return [float(value) for value in multipletests(p_values, method="holm")[1]]
