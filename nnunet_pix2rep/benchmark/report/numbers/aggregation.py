"""From rows per case and class to a table of draws and patients for each method and number of labeled patients.

The order is fixed: mean over the classes of a case, over the cases of a patient, over the draws of the patient, over
the patients. An undefined value (a class that is neither there nor predicted) takes no part in its mean, as in
nnU-Net's evaluator.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pandas as pd

from nnunet_pix2rep.benchmark.report.reading.results import CELL_COLUMNS, BenchmarkResults

Setting = tuple[str, int]
"""A method and a number of labeled patients."""


@dataclass(frozen=True)
class Scores:
    """One number per draw and patient.

    Attributes:
        draws: Seeds of the few-shot subsets, ascending; shape (S,).
        values: Shape (S, P), patients in the order of ``BenchmarkResults.patients``; NaN where undefined or missing.
    """

    draws: tuple[int, ...]
    values: np.ndarray

    def restricted_to(self, draws: Collection[int]) -> Scores:
        """Only these draws; those that are not there are left out."""
        kept = [index for index, draw in enumerate(self.draws) if draw in draws]
        return Scores(tuple(self.draws[index] for index in kept), self.values[kept])

    def with_patients(self, kept: np.ndarray) -> Scores:
        """Only these patients, shape (P,); the others are undefined."""
        return Scores(self.draws, np.where(kept, self.values, np.nan))

    @property
    def patient_means(self) -> np.ndarray:
        """Mean over the draws of every patient, shape (P,)."""
        return mean_of_defined(self.values, axis=0)

    @property
    def draw_means(self) -> np.ndarray:
        """Mean over the patients of every draw, shape (S,)."""
        return mean_of_defined(self.values, axis=1)

    @property
    def mean(self) -> float:
        """Mean over the patients of their means over the draws."""
        return float(mean_of_defined(self.patient_means, axis=0))

    @property
    def num_patients(self) -> int:
        """Patients with a value in at least one draw."""
        return int((~np.isnan(self.values)).any(axis=0).sum())


def mean_of_defined(values: np.ndarray, axis: int) -> np.ndarray:
    """Mean of what is not NaN along an axis; NaN where nothing is."""
    defined = ~np.isnan(values)
    number = defined.sum(axis=axis)
    total = np.where(defined, values, 0.0).sum(axis=axis)
    return np.where(number > 0, total / np.maximum(number, 1), np.nan)


def patient_scores(
    benchmark: BenchmarkResults, metric: str = "dice", class_name: str | None = None
) -> dict[Setting, Scores]:
    """Aggregates a metric for every method and number of labeled patients.

    A patient who is incomplete in a cell is undefined there: a mean over other cases could not be compared.

    Args:
        benchmark: The results.
        metric: One of ``METRICS``.
        class_name: Only this class; None: the mean over the classes.
    """
    rows = benchmark.results if class_name is None else benchmark.results.query("`class` == @class_name")
    per_case = rows.groupby([*CELL_COLUMNS, "patient", "case"])[metric].mean()
    per_patient = per_case.groupby(level=[*CELL_COLUMNS, "patient"]).mean()
    cells = pd.MultiIndex.from_tuples(benchmark.finished, names=CELL_COLUMNS)
    table = per_patient.unstack("patient").reindex(index=cells, columns=benchmark.patients)
    values = np.where(benchmark.complete, table.to_numpy(dtype=float), np.nan)
    places: dict[Setting, dict[int, int]] = {}
    for place, cell in enumerate(benchmark.finished):
        places.setdefault((cell.method, cell.shots), {})[cell.seed] = place
    return {setting: Scores(tuple(draws), values[list(draws.values())]) for setting, draws in places.items()}


def num_undefined(benchmark: BenchmarkResults, metric: str) -> dict[Setting, int]:
    """Number of rows (case and class) without a value of the metric."""
    numbers = benchmark.results[metric].isna().groupby([benchmark.results["method"], benchmark.results["shots"]]).sum()
    return {(method, int(shots)): int(number) for (method, shots), number in numbers.items()}


def paired(first: Scores, second: Scores) -> Scores:
    """Differences first - second over the draws that both have; NaN where one of the two is undefined."""
    common = sorted({*first.draws} & {*second.draws})
    return Scores(tuple(common), first.restricted_to(common).values - second.restricted_to(common).values)
