"""Which patients the qualitative panel shows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnunet_pix2rep.benchmark.report.numbers.aggregation import patient_scores
from nnunet_pix2rep.benchmark.report.reading.results import CELL_COLUMNS, BenchmarkResults, CellKey
from nnunet_pix2rep.errors import UserError


@dataclass(frozen=True)
class Choice:
    """What the panel shows: predictions of one draw, so one run folder per method.

    Attributes:
        cells: One per method, the reference first.
        patients: Title (best, median, worst) -> patient.
        cases: Patient -> the case that is shown.
        dice: (method, case) -> mean Dice over the classes.
        effort: In what annotation is counted, ``patients`` or ``slices``.
    """

    cells: list[CellKey]
    patients: dict[str, str]
    cases: dict[str, str]
    dice: dict[tuple[str, str], float]
    effort: str = "patients"


def choose_patients(benchmark: BenchmarkResults, reference: str) -> Choice:
    """Chooses by the Dice averaged over all methods that are shown, so that the choice favors none of them.

    At the fewest labeled patients for which the reference and the most other methods share a draw, and the first such
    draw. Of each patient, the case nearest to the patient's mean.

    Raises:
        UserError: no patient has a defined Dice.
    """
    cells = _shared_cells(benchmark, reference)
    scores = patient_scores(benchmark)
    values = np.stack([scores[c.method, c.shots].restricted_to([c.seed]).values[0] for c in cells]).mean(axis=0)
    order = [place for place in np.argsort(values, kind="stable") if not np.isnan(values[place])]
    if not order:
        raise UserError("no test patient has a defined Dice with all methods")
    places = {"best": order[-1], "median": order[len(order) // 2], "worst": order[0]}
    patients: dict[str, str] = {}
    for title, place in places.items():
        if benchmark.patients[place] not in patients.values():
            patients[title] = benchmark.patients[place]
    rows = benchmark.results.set_index(CELL_COLUMNS).loc[[tuple(cell) for cell in cells]]
    per_case = rows.groupby(["method", "patient", "case"])["dice"].mean()
    cases = {}
    for patient in patients.values():
        means = per_case.xs(patient, level="patient").groupby("case").mean()
        cases[patient] = str((means - means.mean()).abs().idxmin())
    dice = {(method, case): float(value) for (method, _, case), value in per_case.items()}
    return Choice(cells, patients, cases=cases, dice=dice, effort=benchmark.effort)


def _shared_cells(benchmark: BenchmarkResults, reference: str) -> list[CellKey]:
    by_subset: dict[tuple[int, int], list[CellKey]] = {}
    for cell in benchmark.finished:
        by_subset.setdefault((cell.shots, cell.seed), []).append(cell)

    def rank(subset: tuple[int, int]) -> tuple[bool, int, int, int]:
        methods = [cell.method for cell in by_subset[subset]]
        return reference not in methods or len(methods) < 2, subset[0], -len(methods), subset[1]

    cells = by_subset[min(by_subset, key=rank)]
    return sorted(cells, key=lambda cell: cell.method != reference)
