"""Compares two sets of trainings in the tables of docs/benchmarks: means, difference, its interval and test.

It gives a difference in the diary again where both tables are published, as here that of experiment 26::

    python docs/scripts/compare_results.py \\
        --first acdc_3mm_slices_6000/results.csv method=weights:pix2rep_v2_6000_seed_0.pth \\
            method=weights:pix2rep_v2_6000_seed_1.pth \\
        --against acdc_3mm_slices_6000/results.csv method=scratch_same_schedule

Paths are below docs/benchmarks or from the current folder. ``COLUMN=VALUE`` keeps the rows of that value, ``COLUMN=``
those without one, whose table may lack the column; a column that is named twice keeps those of either, and of several
files all are read. Of several methods the mean is taken, as of two pretrainings; several rows of the same method, draw,
case and class are refused. The interval is that of the benchmark's report: draws and patients are resampled
independently.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
from results_shown import ROOT, dice_by_patient

from nnunet_pix2rep.benchmark.report.numbers.aggregation import Scores, paired
from nnunet_pix2rep.benchmark.report.numbers.statistics import bootstrap_means, interval_of, signed_rank

BENCHMARKS = ROOT / "docs" / "benchmarks"
NUM_RESAMPLES, SEED, CONFIDENCE = 10_000, 0, 0.95
SETTINGS = (
    "dataset",
    "configuration",
    "iterations",
    "steps",
    "elastic_probability",
    "backbone_lr",
    "method",
    "shots",
    "selector",
    "budget",
)
"""What a set of trainings must have one value of, unless several are asked for. No value is one of its own: a table
lacks what all its trainings have in common, which need not be what those of another table have."""
NEEDED = ("method", "seed", "patient", "case", "dice")
ONCE = ("method", "seed", "case", "class")
"""What a set of trainings has one row of."""


def selected_rows(words: list[str]) -> pd.DataFrame:
    """The rows of tables, ``[FILE, ..., "COLUMN=VALUE", ...]``, that have these values.

    Raises:
        SystemExit: there is no such file, column or row, trainings of several settings are left, or a row is repeated.
    """
    names = [word for word in words if "=" not in word]
    rows, name = pd.concat([table_of(name) for name in names], ignore_index=True), " and ".join(names)
    wanted: dict[str, list[str]] = {}
    for column, _, value in (word.partition("=") for word in words if "=" in word):
        wanted.setdefault(column, []).append(value)
    for column, values in wanted.items():
        if column not in rows:
            raise SystemExit(f"{name} has no column {column}. It has {', '.join(rows)}.")
        there = as_text(rows[column])
        for value in values:
            if value not in set(there):
                raise SystemExit(f"{name} has no {column}={value} here. It has {listing(there)}.")
        rows = rows[there.isin(values)]
    for column in SETTINGS:
        left = as_text(rows[column]) if column in rows else pd.Series(dtype=str)
        if left.nunique() > 1 and column not in wanted:
            without = f", or {column}= for those where it is not given" if "" in set(left) else ""
            raise SystemExit(f"{name} has several values of {column}: {listing(left)}. Add {column}=VALUE{without}.")
    refuse_repeated(rows, name)
    return rows


def as_text(values: pd.Series) -> pd.Series:
    """Values as they are typed; what is not given is empty."""
    return values.map(lambda value: "" if pd.isna(value) else str(value))


def listing(values: pd.Series) -> str:
    """All different values, for a message."""
    return ", ".join(value or "not given" for value in sorted(set(values)))


def refuse_repeated(rows: pd.DataFrame, name: str) -> None:
    """Refuses several rows of the same draw, case and class, of which the mean would be taken unasked."""
    columns = [column for column in ONCE if column in rows]
    repeated = rows[rows.duplicated(columns)]
    if not repeated.empty:
        row = ", ".join(f"{column} {repeated.iloc[0][column]}" for column in columns)
        raise SystemExit(f"{name} has several rows of {row}. Name each table once, and one value of each setting.")


def table_of(name: str) -> pd.DataFrame:
    """A table below docs/benchmarks or from the current folder; what is a setting, as text."""
    file = next((path for path in (BENCHMARKS / name, Path(name)) if path.is_file()), None)
    if file is None:
        raise SystemExit(f"There is no {name}, neither in {BENCHMARKS} nor in the current folder.")
    rows = pd.read_csv(file, dtype=dict.fromkeys((*SETTINGS, "class"), str))
    if missing := [column for column in NEEDED if column not in rows]:
        raise SystemExit(f"{file} is no table of a benchmark: it has no column {', '.join(missing)}.")
    return rows


def scores_of(rows: pd.DataFrame, patients: list[str]) -> Scores:
    """Dice by draw and patient: mean over classes, cases and methods, in this order; draws that every method has."""
    by_patient = dice_by_patient(rows, ["method", "seed"])
    table = by_patient.unstack("method").dropna().mean(axis=1).unstack("patient")
    return Scores(tuple(int(draw) for draw in table.index), table.reindex(columns=patients).to_numpy(dtype=float))


def comparison(first: pd.DataFrame, second: pd.DataFrame) -> str:
    """Means and draws of both, and the difference over the draws and patients that both have.

    Raises:
        SystemExit: they have no draw or no patient in common.
    """
    patients = sorted(set(first.patient) & set(second.patient))
    if not patients:
        raise SystemExit("The two have no test patient in common.")
    scores = [scores_of(rows, patients) for rows in (first, second)]
    difference = paired(*scores)
    if not difference.draws:
        raise SystemExit("The two have no draw in common.")
    distribution = bootstrap_means({"difference": difference}, NUM_RESAMPLES, SEED)["difference"]
    interval, test = interval_of(difference, distribution, CONFIDENCE), signed_rank(difference.patient_means)
    lines = [
        f"{name:8} {one.mean:.3f}   by draw {' '.join(f'{mean:.3f}' for mean in one.draw_means)}"
        for name, one in zip(("first", "against"), (one.restricted_to(difference.draws) for one in scores), strict=True)
    ]
    ends = f" ({interval.low:+.3f} to {interval.high:+.3f}, over {interval.covers})" if interval else ""
    lines.append(f"{'gain':8} {difference.mean:+.3f}{ends}")
    if test is not None:
        of = f"better in {test.better} of {test.num_pairs} patients, Wilcoxon p = {test.p_value:.2g}"
        better_draws = int(np.sum(difference.draw_means > 0))
        lines.append(f"{'':8} {of}; better in {better_draws} of {len(difference.draws)} draws")
    return "\n".join(lines)


def main() -> None:
    """Reads the command line and prints the comparison."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, text in (("--first", "the trainings"), ("--against", "those that they are compared with")):
        parser.add_argument(name, nargs="+", required=True, metavar=("FILE", "FILE or COLUMN=VALUE"), help=text)
    arguments = parser.parse_args()
    for name, words in vars(arguments).items():
        if all("=" in word for word in words):
            parser.error(f"--{name} names no file")
    print(comparison(selected_rows(arguments.first), selected_rows(arguments.against)))


if __name__ == "__main__":
    main()
