"""The results that the front page shows, read from the tables in docs/benchmarks.

Every figure of the front page comes from here. After a new benchmark name its folder below, see whether the sentences
still say what the figures say, and run ``front_page.py`` and ``plot_results.py`` in this folder.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pandas as pd

ROOT = Path(__file__).resolve().parents[2]
PATIENTS, LONGER, SLICES = "sunnybrook_4.5mm", "sunnybrook_4.5mm_30000", "sunnybrook_4.5mm_slices"
ACDC_SLICES, ACDC_LONGER, HIPPOCAMPUS_SLICES = "acdc_3mm_slices", "acdc_3mm_slices_6000", "hippocampus_2d_slices"
"""Folders in docs/benchmarks: whole patients, the same after four times the pretraining, single slices of each set, of
ACDC also after twice the pretraining."""
LONGER_STEPS = 6000
"""Of the pretrainings of ``ACDC_LONGER``."""
LONGER_FINE_TUNING = {SLICES: 4000, ACDC_LONGER: 1000}
"""Steps, in place of 400; those of Sunnybrook in two draws."""
DEFAULTS = "faster_backbone.csv"
"""Trainings with the settings that compact plans have now; the other tables are older."""
BOTH_DRAWS = (0, 1)
"""Those that were fine-tuned for longer with whole patients too."""
BUDGET = 18
SLICES_OF_A_PATIENT = 337 / 20
"""Of the twenty Sunnybrook patients that are no test patients, on average."""
WHOLE, RANDOM, SPREAD = "random_patients", "random", "one_per_patient"
STOCK, SCHEDULE, PIX2REP = "scratch", "scratch_same_schedule", "pix2rep_v2"
NAMES = {
    SLICES: {PIX2REP: ["weights:pix2rep_v2_7500.pth", "weights:pix2rep_v2_7500_seed_0.pth"]},
    ACDC_LONGER: {PIX2REP: [f"weights:pix2rep_v2_{LONGER_STEPS}_seed_{seed}.pth" for seed in (0, 1)]},
}
"""What a folder calls a method: single slices start from weights that were there. Of two pretrainings, which differ in
their seed, the mean is shown; with six slices and with random ones the second was not run."""
BOTH = [f"weights:acdc_6000_then_sunnybrook_7500{seed}.pth" for seed in ("", "_seed_1")]
TWICE = ["weights:sunnybrook_7500_then_sunnybrook_7500.pth"]
SUPERVISED = ["weights:acdc_supervised_2000.pth"]
"""Weights for Sunnybrook that have seen ACDC, or Sunnybrook for as long."""
TABLES = {SLICES: ["results.csv", "second_pretraining.csv"]}
"""The files of a folder whose results are in more than one."""


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
        KeyError: the folder has no such runs.
    """
    rows = table(folder)
    rows = rows[rows.method.isin(names_of(folder, method))]
    if setting.selector is None:
        rows = rows[rows.shots == setting.shots]
    else:
        rows = rows[(rows.selector == setting.selector) & (rows.budget == setting.budget)]
    if rows.empty:
        raise KeyError(f"{folder} has no {method} with {setting}")
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


def longer_fine_tuning(
    folder: str,
    method: str,
    selector: str = SPREAD,
    draws: Collection[int] | None = None,
    file: str = "longer_fine_tuning.csv",
    iterations: int | None = None,
) -> float:
    """Mean Dice of ``BUDGET`` slices after so many steps, by default ``LONGER_FINE_TUNING``, of all draws or of some.

    Raises:
        KeyError: there are no such runs.
    """
    rows = dice_of_patients(folder, [file])
    rows = rows[(rows.selector == selector) & (rows.iterations == (iterations or LONGER_FINE_TUNING[folder]))]
    rows = rows[rows.budget == BUDGET]
    rows = rows[rows.method.isin([method, *names_of(folder, method)])]
    rows = rows if draws is None else rows[rows.draw.isin(draws)]
    if rows.empty:
        raise KeyError(f"{folder} has no {method} with {selector} that was fine-tuned for longer")
    return float(rows.dice.mean())


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


def results_table() -> str:
    """The table of both pages: mean Dice of ten test patients, without intervals."""
    patients, slices = [Setting(1), Setting(5), Setting(20)], [Setting(selector=WHOLE), Setting(selector=SPREAD)]
    lines = [
        f"| mean Dice, ten test patients | 1 patient | 5 | 20 | {BUDGET} slices: 1 or 2 patients | "
        f"{BUDGET} slices: many patients |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for title, method, of_patients, of_slices in (
        ("nnU-Net's own trainer", STOCK, PATIENTS, SLICES),
        ("our fine-tuning, random weights", SCHEDULE, PATIENTS, SLICES),
        ("our fine-tuning after Pix2Rep-v2", PIX2REP, PATIENTS, SLICES),
        ("the same, four times the pretraining", PIX2REP, LONGER, None),
    ):
        cells = [mean_dice(of_patients, method, setting) for setting in patients]
        if of_slices is not None:
            cells += [mean_dice(of_slices, method, setting) for setting in slices]
        texts = [f"{cell:.2f}" for cell in cells] + ["not run"] * (len(patients) + len(slices) - len(cells))
        lines.append(f"| {title} | {' | '.join(texts)} |")
    return "\n".join(lines)


def slices_table() -> str:
    """The same number of annotated slices by where they lie, mean Dice of the draws."""
    columns = [(folder, method) for folder in (SLICES, ACDC_SLICES) for method in (SCHEDULE, PIX2REP)]
    lines = [
        f"| {BUDGET} annotated slices | Sunnybrook, random weights | after Pix2Rep-v2 | ACDC, random weights | "
        "after Pix2Rep-v2 |",
        "| --- | --- | --- | --- | --- |",
    ]
    for title, selector in (
        ("whole scans of random patients", WHOLE),
        ("random slices of all patients", RANDOM),
        ("a slice of each patient, positions spread", SPREAD),
    ):
        cells = []
        for folder, method in columns:
            if (folder, selector) == (ACDC_SLICES, RANDOM):
                cells.append("not run")
                continue
            draws = scores(folder, method, Setting(selector=selector)).mean(axis=1)
            cells.append(f"{draws.mean():.2f} ({len(draws)} draws)")
        lines.append(f"| {title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def start_elsewhere(file: str, methods: list[str], budget: int) -> float:
    """Mean Dice on Sunnybrook from such weights after 400 steps on spread slices, or without any for a budget of 0.

    Raises:
        KeyError: there are no such runs of one of the weights.
    """
    rows = dice_of_patients(SLICES, [file])
    rows = rows[rows.method.isin(methods) & (rows.budget == budget)]
    if budget:
        rows = rows[(rows.selector == SPREAD) & (rows.iterations == 400)]
    if missing := set(methods) - set(rows.method):
        raise KeyError(f"no runs of {', '.join(sorted(missing))} with {budget} slices in {file}")
    return rows.dice.mean()


def headline() -> str:
    """The finding in one sentence: all that this package does against what one would do without it."""
    spread = [f"{mean_dice(folder, PIX2REP, Setting(selector=SPREAD)):.2f}" for folder in (SLICES, ACDC_LONGER)]
    whole = [f"{mean_dice(folder, STOCK, Setting(selector=WHOLE)):.2f}" for folder in (SLICES, ACDC_SLICES)]
    longer = [
        f"{longer_fine_tuning(folder, PIX2REP, draws=BOTH_DRAWS):.2f} and "
        f"{longer_fine_tuning(folder, STOCK, WHOLE, BOTH_DRAWS):.2f}"
        for folder in (SLICES, ACDC_LONGER)
    ]
    return textwrap.fill(
        f"On cardiac MRI, **{BUDGET} annotated slices spread over many patients gave a Dice of {spread[0]} (one "
        f"structure) and {spread[1]} (three) after pretraining; {BUDGET} slices of one or two whole patients gave "
        f"{whole[0]} and {whole[1]} with nnU-Net's own trainer.** All in 400 steps, on other patients. "
        f"More steps: {longer[0]} after {LONGER_FINE_TUNING[SLICES]:,}, {longer[1]} after "
        f"{LONGER_FINE_TUNING[ACDC_LONGER]:,} (two draws).",
        118,
    )


def findings() -> str:
    """Where the gain comes from."""
    folders = (SLICES, ACDC_SLICES)
    by_slices = {folder: [gain_by_slices(folder, method) for method in (PIX2REP, SCHEDULE)] for folder in folders}
    ranges = [sorted(difference for difference, _, _ in by_slices[folder]) for folder in folders]
    hippocampus, hippocampus_better, hippocampus_patients = gain_by_slices(HIPPOCAMPUS_SLICES, SCHEDULE)
    better = sum(min(better for _, better, _ in by_slices[folder]) for folder in folders) + hippocampus_better
    patients = sum(by_slices[folder][0][2] for folder in folders) + hippocampus_patients
    schedule = [gain(PATIENTS, SCHEDULE, STOCK, Setting(shots)) for shots in (1, 20)]
    stock_draws = scores(SLICES, STOCK, Setting(selector=SPREAD)).mean(axis=1)
    by_patients = [gain(PATIENTS, PIX2REP, SCHEDULE, Setting(shots)) for shots in (1, 2, 5, 20)]
    whole = [gain(folder, PIX2REP, SCHEDULE, Setting(selector=WHOLE)) for folder in folders]
    spread = [gain(folder, PIX2REP, SCHEDULE, Setting(selector=SPREAD)) for folder in (SLICES, ACDC_LONGER)]
    longer = {method: longer_fine_tuning(SLICES, method) for method in (STOCK, SCHEDULE, PIX2REP)}
    longer_whole = longer_fine_tuning(SLICES, STOCK, WHOLE)
    acdc = {method: longer_fine_tuning(ACDC_LONGER, method) for method in (SCHEDULE, PIX2REP)}
    faster, faster_acdc = (
        {method: longer_fine_tuning(folder, method, file=DEFAULTS, iterations=1000) for method in (SCHEDULE, PIX2REP)}
        for folder in (SLICES, ACDC_LONGER)
    )
    every = dice_of_patients("sunnybrook_slices", ["full_annotation_1000_steps.csv"])
    full = every[every.budget == every.budget.max()].dice.mean()
    both, twice = (start_elsewhere("both_datasets.csv", methods, BUDGET) for methods in (BOTH, TWICE))
    unchanged, few, spread_slices = (
        start_elsewhere("public_labels.csv", SUPERVISED, budget) for budget in (0, 6, BUDGET)
    )
    steps, steps_acdc = LONGER_FINE_TUNING[SLICES], LONGER_FINE_TUNING[ACDC_LONGER]
    sentences = (
        f"**What you annotate: {ranges[0][0]:+.2f} to {ranges[0][1]:+.2f} Dice on Sunnybrook, {ranges[1][0]:+.2f} to "
        f"{ranges[1][1]:+.2f} on ACDC, {hippocampus:+.2f} on the hippocampus in 2D.** {BUDGET} slices of many patients "
        f"against {BUDGET} slices of one or two, in the same training: better in {better} of {patients} test patients. "
        f"After {steps:,} steps of nnU-Net's own trainer on Sunnybrook {longer[STOCK] - longer_whole:+.2f}, within "
        "chance. `suggest` spreads them for you.",
        f"**How you fine-tune: {schedule[0]:+.2f} with one labeled patient, {schedule[1]:+.2f} with twenty,** over "
        "nnU-Net's own trainer, 400 steps; of spread slices it learned next to nothing in "
        f"{(stock_draws < 0.1).sum()} of {len(stock_draws)} draws. **More steps level them:** after "
        f"{steps:,} {longer[STOCK]:.2f}, ours {longer[SCHEDULE]:.2f} (Sunnybrook, two draws). **Today's "
        f"compact plans, faster, slices deformed:** {faster[SCHEDULE]:.2f} after 1,000, all slices {full:.2f}.",
        f"**The pretraining: {spread[0]:+.2f} on Sunnybrook and {spread[1]:+.2f} on ACDC with spread slices,** over "
        f"random weights, two pretrainings each; {whole[0]:+.2f} and {whole[1]:+.2f} with slices of one or two "
        f"patients; {min(by_patients):+.2f} to {max(by_patients):+.2f} with one to twenty whole patients, in other "
        f"draws. **It may only save steps:** after {steps_acdc:,} on ACDC {acdc[PIX2REP]:.2f} with it and "
        f"{acdc[SCHEDULE]:.2f} without, {faster_acdc[PIX2REP]:.2f} and {faster_acdc[SCHEDULE]:.2f} with these; on "
        f"Sunnybrook {faster[PIX2REP]:.2f} and {faster[SCHEDULE]:.2f}. **First on ACDC, then on "
        f"Sunnybrook:** {both:.2f} after 400, as long on Sunnybrook alone {twice:.2f}.",
        "**Labels of another hospital gave the most.** Trained on those of ACDC, which outline the ventricle too, a "
        f"network had {unchanged:.2f} on Sunnybrook as it was, {spread_slices:.2f} after 400 steps on {BUDGET} spread "
        f"slices, {few:.2f} on six.",
    )
    return "\n".join(
        textwrap.fill(
            f"{number}. {sentence}", 118, subsequent_indent="   ", break_long_words=False, break_on_hyphens=False
        )
        for number, sentence in enumerate(sentences, start=1)
    )


def demo_table() -> str:
    """What the demo reached with each seed; ``docs/benchmarks/demo/seeds.csv`` is of its ``summary.json``."""
    runs = pd.read_csv(ROOT / "docs" / "benchmarks" / "demo" / "seeds.csv")
    titles = {
        "scratch": "one patient, from scratch",
        "pix2rep": "one patient, Pix2Rep",
        "suggested": "suggested slices, Pix2Rep",
    }
    lines = [f"| seed | slices | {' | '.join(titles.values())} |", "| --- | --- | --- | --- | --- |"]
    for (seed, slices), run in runs.groupby(["seed", "slices"]):
        dice = run.set_index("method").dice
        lines.append(f"| {seed} | {slices} | {' | '.join(f'{dice[method]:.2f}' for method in titles)} |")
    return "\n".join(lines)
