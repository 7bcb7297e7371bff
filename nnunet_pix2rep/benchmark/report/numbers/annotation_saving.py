"""How many labeled patients the reference method needs to be as good as another method with few.

The reference's mean scores at n_1 < ... < n_k labeled patients are joined by straight lines over log n: each doubling
of the annotation effort counts alike, as on the axis of the figure. The number needed is where this curve *first*
reaches the other method's score, so a curve that dips later is read in favor of the reference. Outside of n_1 ... n_k
nothing is extrapolated: a score above the whole curve needs more than n_k patients, one below its beginning fewer than
n_1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnunet_pix2rep.benchmark.report.numbers.aggregation import Scores, Setting

NEVER = np.inf
"""The reference reaches the score at none of its numbers of patients."""
BELOW = 0.0
"""The reference is better already at its smallest number of patients."""


def patients_needed(
    numbers: Sequence[int], curve: Sequence[float] | np.ndarray, target: np.ndarray | float
) -> np.ndarray:
    """Labeled patients that the reference needs to reach a score.

    Args:
        numbers: Labeled patients of the reference, ascending, k of them.
        curve: Its scores, shape (k,) or (k, B); NaN gives NaN.
        target: The score to reach, a number or shape (B,).

    Returns:
        Shape (B,) or (); from n_1 to n_k, or ``NEVER``, or ``BELOW``.

    >>> float(patients_needed([1, 4, 16], [0.5, 0.7, 0.8], 0.6))  # between 1 and 4, on a logarithmic scale
    2.0
    """
    curve = np.asarray(curve, dtype=float)
    columns = curve.reshape(len(numbers), -1)
    targets = np.broadcast_to(np.asarray(target, dtype=float), columns.shape[1:])
    reached = columns >= targets
    first = reached.argmax(axis=0)
    column = np.arange(columns.shape[1])
    before = np.maximum(first - 1, 0)
    rise = columns[first, column] - columns[before, column]
    fraction = np.divide(targets - columns[before, column], rise, out=np.zeros_like(targets), where=rise > 0)
    log_numbers = np.log(np.asarray(numbers, dtype=float))
    needed = np.exp(log_numbers[before] + fraction * (log_numbers[first] - log_numbers[before]))
    needed = np.where(targets < columns[0], BELOW, np.where(reached.any(axis=0), needed, NEVER))
    needed = np.where(np.isnan(columns).any(axis=0) | np.isnan(targets), np.nan, needed)
    return needed.reshape(curve.shape[1:])


def bounded(needed: float, numbers: Sequence[int], shots: int) -> tuple[str, float]:
    """A number of needed patients as relation and factor: ``=``, or ``>`` or ``<`` and the bound that is known.

    The factor is the number needed over ``shots``, the labeled patients of the other method.
    """
    if needed == NEVER:
        return ">", numbers[-1] / shots
    if needed == BELOW:
        return "<", numbers[0] / shots
    return "=", needed / shots


@dataclass(frozen=True)
class SavingData:
    """What one saving factor is computed from, over patients that all tables have.

    Attributes:
        numbers: Labeled patients of the reference's cells, ascending.
        curve: The reference's scores at these.
        target: The other method's scores.
        provisional: Whether draws are missing somewhere.
    """

    numbers: tuple[int, ...]
    curve: tuple[Scores, ...]
    target: Scores
    provisional: bool


def saving_data(
    scores: Mapping[Setting, Scores], reference: str, setting: Setting, missing_draws: Mapping[Setting, Sequence[int]]
) -> SavingData | None:
    """Selects comparable scores of a method at one number of patients and of the reference's whole curve.

    Where draws of the method are missing, the reference is restricted to those that are there, so that an easy draw
    favors neither. Patients that are undefined in one of the tables are left out of all.

    Args:
        scores: Of all methods and numbers of labeled patients.
        reference: The method whose curve is read.
        setting: The method and its number of labeled patients.
        missing_draws: Draws that were planned and have no results.

    Returns:
        None where the reference has no comparable results.
    """
    target = scores[setting]
    curve = {shots: table for (method, shots), table in sorted(scores.items()) if method == reference}
    provisional = any(missing_draws.get(key) for key in [setting, *((reference, shots) for shots in curve)])
    if missing_draws.get(setting):
        curve = {shots: table.restricted_to(target.draws) for shots, table in curve.items()}
        curve = {shots: table for shots, table in curve.items() if table.draws}
    common = np.all([~np.isnan(table.patient_means) for table in [target, *curve.values()]], axis=0)
    if not curve or not common.any():
        return None
    return SavingData(
        numbers=tuple(curve),
        curve=tuple(table.with_patients(common) for table in curve.values()),
        target=target.with_patients(common),
        provisional=provisional,
    )
