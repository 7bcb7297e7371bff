"""Reading a benchmark folder: what was planned, what every finished cell measured, and how long it took.

A cell is one (method, number of labeled patients, draw). ``docs/reference/benchmark-files.md`` documents the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from nnunet_pix2rep.benchmark.report.reading.result_files import CELL_COLUMNS, check_results, read_table
from nnunet_pix2rep.benchmark.schema import (
    BENCHMARK_FILE,
    FORMAT_VERSION,
    RESULT_COLUMNS,
    RESULTS_FILE,
    RUN_COLUMNS,
    RUNS_FILE,
    SET_FILE,
    arm_of,
)
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json

PATIENTS = "patients"


class CellKey(NamedTuple):
    """What a cell is known by: a method, how much was annotated and the draw of it.

    Where effort is counted in slices, the method stands with the selector that chose them (``pix2rep + coverage``) and
    ``shots`` is the number of slices; so selectors are compared as methods are.
    """

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
    def finished(self) -> dict[CellKey, str]:
        """Every cell with results and its run folder."""
        columns = [*CELL_COLUMNS, "run_folder"]
        rows = self.results[columns].drop_duplicates(CELL_COLUMNS).itertuples(index=False)
        found = {CellKey(row.method, int(row.shots), int(row.seed)): row.run_folder for row in rows}
        return {cell: found[cell] for cell in sorted(found, key=self._place)}

    @cached_property
    def planned(self) -> list[CellKey]:
        """All cells: those listed, or else every method on every few-shot subset; and whatever else has results."""
        listed = list(self.entries)
        if "cells" not in self.description:
            listed = [CellKey(method, *subset) for method in self.description["methods"] for subset in self.subsets]
        return sorted({*listed, *self.finished}, key=self._place)

    @cached_property
    def entries(self) -> dict[CellKey, Mapping[str, Any]]:
        """What ``benchmark.json`` says of the cells: their pretraining, or why they are impossible."""
        listed = self.description.get("cells", [])
        return {_cell_of(entry): entry for entry in listed}

    @cached_property
    def effort(self) -> str:
        """In what annotation is counted, ``patients`` or ``slices``."""
        return self.description.get("effort", PATIENTS)

    def labeled_patients(self, cell: CellKey) -> list[str]:
        """Patients of whom something was annotated; empty where it is not known."""
        if self.effort == PATIENTS:
            return self.subsets.get((cell.shots, cell.seed), [])
        return list(self.annotation_sets.get(cell, {}).get("patients", []))

    @cached_property
    def annotation_sets(self) -> dict[CellKey, Mapping[str, Any]]:
        """The records of the slices that were annotated, as far as the folder has them."""
        files = {
            cell: self.folder / entry["annotation_set"] / SET_FILE
            for cell, entry in self.entries.items()
            if "annotation_set" in entry
        }
        return {cell: read_json(file) for cell, file in files.items() if file.is_file()}

    @cached_property
    def subsets(self) -> dict[tuple[int, int], list[str]]:
        """(number of labeled patients, draw) -> the labeled patients."""
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
        """Numbers of labeled patients with results, ascending."""
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
    def incomplete_patients(self) -> dict[CellKey, list[str]]:
        """Cells in which rows of test patients are missing, and these patients."""
        rows = zip(self.finished, self.complete, strict=True)
        return {
            cell: [patient for patient, complete in zip(self.patients, row, strict=True) if not complete]
            for cell, row in rows
            if not row.all()
        }

    def _place(self, cell: CellKey) -> tuple[int, str, int, int]:
        methods = self.description["methods"]
        return (methods.index(cell.method) if cell.method in methods else len(methods), *cell)


def read_benchmark(folder: Path) -> BenchmarkResults:
    """Reads a benchmark folder, finished or not.

    Raises:
        UserError: a file is missing or malformed, or a test patient is among the labeled ones.
    """
    description = read_json(folder / BENCHMARK_FILE)
    _check_description(description, folder / BENCHMARK_FILE)
    results = read_table(folder / RESULTS_FILE, RESULT_COLUMNS)
    check_results(results, folder / RESULTS_FILE)
    runs_file = folder / RUNS_FILE
    runs = read_table(runs_file, RUN_COLUMNS) if runs_file.is_file() else pd.DataFrame(columns=list(RUN_COLUMNS))
    benchmark = BenchmarkResults(folder, description, results, runs)
    labeled = {f"shots {shots}, draw {seed}": names for (shots, seed), names in benchmark.subsets.items()}
    labeled |= {
        f"{cell.method}, {cell.shots} slice(s), draw {cell.seed}": record["patients"]
        for cell, record in benchmark.annotation_sets.items()
    }
    for draw, names in labeled.items():
        if leaked := sorted({*names} & {*benchmark.patients}):
            raise UserError(
                f"{folder / BENCHMARK_FILE}: the test patients {', '.join(leaked)} are among the labeled patients of "
                f"{draw}. Their results would say nothing about new patients."
            )
    return benchmark


def _check_description(description: Any, file: Path) -> None:
    if not isinstance(description, dict) or description.get("format_version") != FORMAT_VERSION:
        raise UserError(f"{file} is no description of a benchmark in format {FORMAT_VERSION}.")
    missing = [key for key in ("dataset", "methods", "test_patients", "splits") if key not in description]
    if missing:
        raise UserError(f"{file} has no {', '.join(missing)}.")


def _cell_of(entry: Mapping[str, Any]) -> CellKey:
    """The cell that an entry of ``benchmark.json`` describes."""
    selector = entry.get("selector")
    return CellKey(arm_of(entry["method"], selector), entry["budget"] if selector else entry["shots"], entry["seed"])
