"""The results that the front page shows, read from the tables in docs/benchmarks.

Every figure of the front page comes from here; ``results_in_words.py`` writes them. After a new benchmark name its
folder below, see whether the sentences still say what the figures say, and run ``front_page.py`` and
``plot_results.py`` in this folder.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
SUNNYBROOK, ACDC = "sunnybrook_4.5mm_1000_steps", "acdc_3mm_1000_steps"
"""Folders in docs/benchmarks with the settings that compact plans have now; all others are older."""
STEPS = 1000
"""Of the fine-tuning in both."""
ALL_OF = {SUNNYBROOK: 337, ACDC: 1010}
"""Slices of the patients who are not tested on."""
PATIENTS, SLICES = "sunnybrook_4.5mm", "sunnybrook_4.5mm_slices"
ACDC_SLICES, ACDC_LONGER, HIPPOCAMPUS_SLICES = "acdc_3mm_slices", "acdc_3mm_slices_6000", "hippocampus_2d_slices"
"""Folders of 400 steps: whole patients, and single slices of each set, of ACDC also after twice the pretraining."""
NOW_400, LONGER_FINE_TUNING = "faster_backbone.csv", "longer_fine_tuning.csv"
"""Files of ``SLICES`` and ``ACDC_LONGER`` with other numbers of steps; the first has the settings of now."""
BUDGET = 18
WHOLE, RANDOM, SPREAD, ALL = "random_patients", "random", "one_per_patient", "all_slices"
STOCK, SCHEDULE, PIX2REP = "scratch", "scratch_same_schedule", "pix2rep_v2"
SUNNYBROOK_WEIGHTS = [f"weights:pix2rep_v2_7500{seed}.pth" for seed in ("", "_seed_0")]
ACDC_WEIGHTS = [f"weights:pix2rep_v2_6000_seed_{seed}.pth" for seed in (0, 1)]
NAMES = {
    SUNNYBROOK: {PIX2REP: SUNNYBROOK_WEIGHTS},
    SLICES: {PIX2REP: SUNNYBROOK_WEIGHTS},
    ACDC: {PIX2REP: ACDC_WEIGHTS},
    ACDC_LONGER: {PIX2REP: ACDC_WEIGHTS},
}
"""What a folder calls a method: single slices start from weights that were there. Of two pretrainings, which differ in
their seed, the mean is shown where both were run."""
BOTH = [f"weights:acdc_6000_then_sunnybrook_7500{seed}.pth" for seed in ("", "_seed_1")]
TWICE = ["weights:sunnybrook_7500_then_sunnybrook_7500.pth"]
SUPERVISED = ["weights:acdc_supervised_2000.pth"]
"""Weights for Sunnybrook that have seen ACDC, or Sunnybrook for as long."""
TABLES = {SLICES: ["results.csv", "second_pretraining.csv"]}
"""The files of a folder whose results are in more than one."""


class NotRunError(KeyError):
    """There are no such runs in a table, which is no fault of the table."""


class Setting(NamedTuple):
    """What was annotated: whole patients (``shots``), or ``budget`` slices that a selector chose."""

    shots: int | None = None
    selector: str | None = None
    budget: int = BUDGET


@cache
def table(folder: str) -> pd.DataFrame:
    """Columns method, shots or selector and budget, draw, patient, dice; a row for each test patient of each draw."""
    return dice_of_patients(folder, TABLES.get(folder, ["results.csv"]))


def dice_of_patients(folder: str, names: list[str]) -> pd.DataFrame:
    """What :func:`table` has, of some files of a folder."""
    files = [ROOT / "docs" / "benchmarks" / folder / name for name in names]
    cases = pd.concat([pd.read_csv(file) for file in files]).rename(columns={"seed": "draw"})
    settings = [name for name in ("iterations", "method", "shots", "selector", "budget", "draw") if name in cases]
    return dice_by_patient(cases, settings).reset_index()


def dice_by_patient(cases: pd.DataFrame, settings: list[str]) -> pd.Series:
    """Mean over the classes of a case, then over the cases of a patient, for each of the settings."""
    by_case = cases.groupby([*settings, "patient", "case"], dropna=False).dice.mean()
    return by_case.groupby([*settings, "patient"], dropna=False).mean()


def names_of(folder: str, method: str) -> list[str]:
    """What a folder calls a method."""
    return NAMES.get(folder, {}).get(method, [method])


@cache
def scores(folder: str, method: str, setting: Setting) -> pd.DataFrame:
    """Dice by draw (rows) and test patient (columns), the mean of the pretrainings that were run.

    Raises:
        NotRunError: the folder has no such runs.
    """
    rows = table(folder)
    rows = rows[rows.method.isin(names_of(folder, method))]
    if setting.selector is None:
        rows = rows[rows.shots == setting.shots]
    else:
        rows = rows[(rows.selector == setting.selector) & (rows.budget == setting.budget)]
    if rows.empty:
        raise NotRunError(f"{folder} has no {method} with {setting}")
    return rows.pivot_table(index="draw", columns="patient", values="dice")


def mean_dice(folder: str, method: str, setting: Setting, *, beside: tuple[str, ...] = ()) -> float:
    """Mean over test patients and draws; of these only the draws that the methods ``beside`` it have too."""
    dice = scores(folder, method, setting)
    draws = dice.index
    for other in beside:
        draws = draws.intersection(scores(folder, other, setting).index)
    return float(dice.loc[draws].mean(axis=None))


def budgets_of(folder: str, method: str, selector: str) -> list[int]:
    """The numbers of slices that a method was trained with."""
    rows = table(folder)
    rows = rows[rows.method.isin(names_of(folder, method)) & (rows.selector == selector)]
    return sorted(rows.budget.astype(int).unique().tolist())


def with_steps(
    folder: str,
    method: str,
    iterations: int,
    selector: str = SPREAD,
    draws: Collection[int] | None = None,
    file: str = LONGER_FINE_TUNING,
) -> float:
    """Mean Dice of ``BUDGET`` slices after so many steps of fine-tuning, of all draws or of some.

    Raises:
        NotRunError: there are no such runs.
    """
    rows = dice_of_patients(folder, [file])
    rows = rows[(rows.selector == selector) & (rows.iterations == iterations) & (rows.budget == BUDGET)]
    rows = rows[rows.method.isin([method, *names_of(folder, method)])]
    rows = rows if draws is None else rows[rows.draw.isin(draws)]
    if rows.empty:
        raise NotRunError(f"{folder} has no {method} with {selector} and {iterations} steps in {file}")
    return float(rows.dice.mean())


def full_annotation(folder: str) -> float:
    """The highest mean Dice of those with every slice annotated, as the benchmark's report has it."""
    found = []
    for method in (STOCK, SCHEDULE, PIX2REP):
        with suppress(NotRunError):
            found.append(mean_dice(folder, method, Setting(selector=ALL, budget=ALL_OF[folder])))
    return max(found)


def gain(folder: str, method: str, over: str, setting: Setting) -> float:
    """Difference of two methods, over the draws that both have."""
    first, second = (mean_dice(folder, name, setting, beside=(method, over)) for name in (method, over))
    return first - second


def gain_by_slices(folder: str, method: str) -> tuple[float, int, int]:
    """Spread slices against whole patients: the difference, in how many test patients it is positive, of how many."""
    spread, whole = (scores(folder, method, Setting(selector=name)) for name in (SPREAD, WHOLE))
    draws = spread.index.intersection(whole.index)
    difference = (spread.loc[draws] - whole.loc[draws]).mean()
    return float(difference.mean()), int((difference > 0).sum()), len(difference)


def start_elsewhere(file: str, methods: list[str], budget: int) -> float:
    """Mean Dice on Sunnybrook from such weights after 400 steps on spread slices, or without any for a budget of 0.

    Raises:
        NotRunError: there are no such runs of one of the weights.
    """
    rows = dice_of_patients(SLICES, [file])
    rows = rows[rows.method.isin(methods) & (rows.budget == budget)]
    if budget:
        rows = rows[(rows.selector == SPREAD) & (rows.iterations == 400)]
    if missing := set(methods) - set(rows.method):
        raise NotRunError(f"no runs of {', '.join(sorted(missing))} with {budget} slices in {file}")
    return rows.dice.mean()
