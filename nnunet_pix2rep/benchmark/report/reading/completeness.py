"""What ran and what is missing: every number's run folder, and the cells that a benchmark still lacks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from nnunet_pix2rep.benchmark.report.numbers.aggregation import Setting, patient_scores
from nnunet_pix2rep.benchmark.report.reading.results import BenchmarkResults, CellKey
from nnunet_pix2rep.benchmark.schema import SECONDS_COLUMNS

COMMANDS_FILE = "commands.txt"
UNKNOWN_STATUS = "not run yet"


def number(value: float) -> float | None:
    """A plain number, or None for NaN, which JSON does not have."""
    return None if math.isnan(value) else float(value)


def missing_cells(benchmark: BenchmarkResults) -> list[CellKey]:
    """Planned cells without results."""
    return [cell for cell in benchmark.planned if cell not in benchmark.finished]


def missing_draws(benchmark: BenchmarkResults) -> dict[Setting, list[int]]:
    """Planned draws without results, of every method and number of labeled patients that lacks some."""
    missing = defaultdict(list)
    for cell in missing_cells(benchmark):
        missing[cell.method, cell.shots].append(cell.seed)
    return dict(missing)


def completeness(benchmark: BenchmarkResults) -> dict[str, Any]:
    """Numbers of planned and finished cells; those that are missing or lack test patients, by name."""
    runs = _runs_by_cell(benchmark)
    return {
        "planned_cells": len(benchmark.planned),
        "finished_cells": len(benchmark.finished),
        "missing": [
            cell._asdict() | {"status": _status(runs.get(cell, {}), benchmark.entries.get(cell, {}))}
            for cell in missing_cells(benchmark)
        ],
        "without_all_patients": [
            cell._asdict() | {"patients": patients} for cell, patients in benchmark.incomplete_patients.items()
        ],
    }


def cell_records(benchmark: BenchmarkResults) -> list[dict[str, Any]]:
    """Every finished cell with run folder, commands, duration, labeled patients and the Dice of each test patient."""
    runs = _runs_by_cell(benchmark)
    dice = patient_scores(benchmark)
    records = []
    for cell, run_folder in benchmark.finished.items():
        scores = dice[cell.method, cell.shots].restricted_to([cell.seed])
        pretraining = benchmark.entries.get(cell, {}).get("pretraining_folder")
        seconds = {column: runs.get(cell, {}).get(column, np.nan) for column in SECONDS_COLUMNS}
        records.append(
            cell._asdict()
            | {
                "run_folder": run_folder,
                "dice": number(scores.mean),
                "dice_per_patient": {
                    patient: number(value)
                    for patient, value in zip(benchmark.patients, scores.patient_means, strict=True)
                },
                "labelled_patients": benchmark.labeled_patients(cell),
                **{column: number(value) for column, value in seconds.items()},
                "pretraining_folder": pretraining,
                "commands": [
                    command
                    for folder in (pretraining, run_folder)
                    if folder is not None
                    for command in _commands(benchmark, folder)
                ],
            }
        )
    return records


def _runs_by_cell(benchmark: BenchmarkResults) -> dict[CellKey, dict[str, Any]]:
    rows = benchmark.runs.to_dict("records")
    return {CellKey(row["method"], row["shots"], row["seed"]): row for row in rows}


def _status(run: Mapping[str, Any], entry: Mapping[str, Any]) -> str:
    if entry.get("impossible"):
        return f"impossible: {entry['impossible']}"
    return run.get("status", UNKNOWN_STATUS)


def _commands(benchmark: BenchmarkResults, run_folder: str) -> list[str]:
    """What was run in a folder, as it records it; empty where only the tables were kept."""
    file = benchmark.folder / run_folder / COMMANDS_FILE
    if not file.is_file():
        return []
    return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
