"""Reading a benchmark folder: what was planned, what every finished cell measured, and how long it took.

A cell is one (method, number of labelled patients, draw). ``docs/benchmark.md`` documents the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nnunet_pix2rep.benchmark.schema import (
    BENCHMARK_FILE,
    FORMAT_VERSION,
    RESULT_COLUMNS,
    RESULTS_FILE,
    RUN_COLUMNS,
    RUNS_FILE,
)
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json

CELL_COLUMNS = ["method", "shots", "seed"]
TEXT_COLUMNS = ("method", "patient", "case", "class", "status", "run_folder")


class Cell(NamedTuple):
    """One training: a method, the number of labelled patients and the draw of these patients."""

    method: str
    shots: int
    seed: int


@dataclass(frozen=True)
class BenchmarkResults:
    """What a benchmark folder holds.

    Attributes:
        folder: The benchmark folder.
        description: Content of ``benchmark.json``.
        results: Rows of ``results.csv``; an undefined metric is NaN.
        runs: Rows of ``runs.csv``, empty where the file is missing.
    """

    folder: Path
    description: Mapping[str, Any]
    results: pd.DataFrame
    runs: pd.DataFrame

    @cached_property
    def finished(self) -> dict[Cell, str]:
        """Every cell with results and its run folder."""
        columns = [*CELL_COLUMNS, "run_folder"]
        rows = self.results[columns].drop_duplicates(CELL_COLUMNS).itertuples(index=False)
        found = {Cell(row.method, int(row.shots), int(row.seed)): row.run_folder for row in rows}
        return {cell: found[cell] for cell in sorted(found, key=self._place)}

    @cached_property
    def planned(self) -> list[Cell]:
        """All cells: those listed, or else every method on every few-shot subset; and whatever else has results."""
        listed = list(self.entries)
        if "cells" not in self.description:
            listed = [Cell(method, *subset) for method in self.description["methods"] for subset in self.subsets]
        return sorted({*listed, *self.finished}, key=self._place)

    @cached_property
    def entries(self) -> dict[Cell, Mapping[str, Any]]:
        """What ``benchmark.json`` says of the cells: their pretraining, or why they are impossible."""
        listed = self.description.get("cells", [])
        return {Cell(entry["method"], entry["shots"], entry["seed"]): entry for entry in listed}

    @cached_property
    def subsets(self) -> dict[tuple[int, int], list[str]]:
        """(number of labelled patients, draw) -> the labelled patients."""
        found = {}
        for key, split in self.description["splits"].items():
            patients = split["train_patients"]
            found[len(patients), int(key.rpartition("_")[2])] = list(patients)
        return dict(sorted(found.items()))

    @cached_property
    def methods(self) -> list[str]:
        """Methods with results, in the order of ``benchmark.json``."""
        return list(dict.fromkeys(cell.method for cell in self.finished))

    @cached_property
    def shots(self) -> list[int]:
        """Numbers of labelled patients with results, ascending."""
        return sorted({cell.shots for cell in self.finished})

    @cached_property
    def classes(self) -> list[str]:
        """Classes or regions, in the order of ``benchmark.json``."""
        found = list(self.results["class"].unique())
        order = list(self.description.get("labels", {}).values())
        return sorted(found, key=lambda name: (order.index(name) if name in order else len(order), name))

    @cached_property
    def patients(self) -> list[str]:
        """All test patients, planned or found."""
        return sorted({*self.description["test_patients"], *self.results["patient"]})

    @cached_property
    def complete(self) -> np.ndarray:
        """Whether all rows (case and class) that a patient has in any cell are there; shape (finished cells, P)."""
        index = pd.MultiIndex.from_tuples(self.finished, names=CELL_COLUMNS)
        found = self.results.groupby([*CELL_COLUMNS, "patient"]).size().unstack("patient", fill_value=0)
        found = found.reindex(index=index, columns=self.patients, fill_value=0)
        expected = self.results.drop_duplicates(["case", "class"]).groupby("patient").size().reindex(self.patients)
        return found.to_numpy() == expected.to_numpy()

    @property
    def incomplete_patients(self) -> dict[Cell, list[str]]:
        """Cells in which rows of test patients are missing, and these patients."""
        rows = zip(self.finished, self.complete, strict=True)
        return {
            cell: [patient for patient, complete in zip(self.patients, row, strict=True) if not complete]
            for cell, row in rows
            if not row.all()
        }

    def _place(self, cell: Cell) -> tuple[int, str, int, int]:
        methods = self.description["methods"]
        return (methods.index(cell.method) if cell.method in methods else len(methods), *cell)


def read_benchmark(folder: Path) -> BenchmarkResults:
    """Reads a benchmark folder, finished or not.

    Raises:
        UserError: a file is missing or malformed, or a test patient is among the labelled ones.
    """
    description = read_json(folder / BENCHMARK_FILE)
    _check_description(description, folder / BENCHMARK_FILE)
    results = _read_table(folder / RESULTS_FILE, RESULT_COLUMNS)
    _check_results(results, folder / RESULTS_FILE)
    runs_file = folder / RUNS_FILE
    runs = _read_table(runs_file, RUN_COLUMNS) if runs_file.is_file() else pd.DataFrame(columns=list(RUN_COLUMNS))
    benchmark = BenchmarkResults(folder, description, results, runs)
    for (shots, seed), labelled in benchmark.subsets.items():
        if leaked := sorted({*labelled} & {*benchmark.patients}):
            raise UserError(
                f"{folder / BENCHMARK_FILE}: the test patients {', '.join(leaked)} are among the labelled patients of "
                f"shots {shots}, draw {seed}. Their results would say nothing about new patients."
            )
    return benchmark


def _check_description(description: Any, file: Path) -> None:
    if not isinstance(description, dict) or description.get("format_version") != FORMAT_VERSION:
        raise UserError(f"{file} is no description of a benchmark in format {FORMAT_VERSION}.")
    missing = [key for key in ("dataset", "methods", "test_patients", "splits") if key not in description]
    if missing:
        raise UserError(f"{file} has no {', '.join(missing)}.")


def _read_table(file: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Reads a table whose columns must be ``columns``; patients such as 001 or NA stay text."""
    if not file.is_file():
        raise UserError(f"{file} does not exist: no cell of this benchmark has finished yet.")
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise UserError(f"{file} is no valid table: {error}") from error
    if tuple(table.columns) != columns:
        raise UserError(f"{file} must have the columns {', '.join(columns)}, but has {', '.join(table.columns)}.")
    for column in table.columns.difference(TEXT_COLUMNS):
        try:
            table[column] = pd.to_numeric(table[column].replace("", np.nan))
        except ValueError as error:
            raise UserError(f"{file}, column {column}: {error}") from error
    for column in ("shots", "seed"):
        if not (table[column] % 1 == 0).all():
            raise UserError(f"{file}, column {column}: only whole numbers are allowed.")
        table[column] = table[column].astype(int)
    return table


def _check_results(results: pd.DataFrame, file: Path) -> None:
    if results.empty:
        raise UserError(f"{file} has no rows: no cell of this benchmark has finished yet.")
    for metric in ("dice", "surface_dice"):
        if not results[metric].dropna().between(0, 1).all():
            raise UserError(f"{file}, column {metric}: values must lie from 0 to 1.")
    if not (results["hd95"].dropna() >= 0).all():
        raise UserError(f"{file}, column hd95: values must not be negative.")
    key = [*CELL_COLUMNS, "case", "class"]
    if (repeated := results.duplicated(key)).any():
        row = ", ".join(map(str, results.loc[repeated, key].iloc[0]))
        raise UserError(f"{file} has two rows of {row}.")
    for group, column in ((CELL_COLUMNS, "run_folder"), (["case"], "patient")):
        numbers = results.groupby(group)[column].nunique()
        if (numbers > 1).any():
            raise UserError(f"{file}: {numbers.idxmax()} has more than one {column}.")
