"""``results.csv`` and ``runs.csv``, rebuilt from the folders of the cells whenever one of them is finished."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from nnunet_pix2rep.benchmark.design.layout import BenchmarkFolder
from nnunet_pix2rep.benchmark.design.runs import (
    FINISHED,
    IMPOSSIBLE,
    INTERRUPTED,
    LOCK_FILE,
    METRICS_FILE,
    RUN_FILE,
    RUNNING,
    WAITING,
)
from nnunet_pix2rep.benchmark.execution.inherited_locks import is_held
from nnunet_pix2rep.benchmark.schema import CELL_NAMES, RESULT_COLUMNS, RUN_COLUMNS
from nnunet_pix2rep.files import atomic_path, read_json


def write_tables(folder: BenchmarkFolder) -> None:
    """Writes both tables, each whole or not at all; of every cell that was ever asked for in this folder.

    What is in the folders of the cells decides, so it does not matter which process runs them. Cells whose results are
    there come into ``results.csv`` only once they are finished.
    """
    with FileLock(folder.path / ".tables.lock"):
        cells = [_CellRecord(folder, entry) for entry in (folder.read_record() or {}).get("cells", [])]
        _write(folder.results_file, RESULT_COLUMNS, (row for cell in cells for row in cell.result_rows()))
        _write(folder.runs_file, RUN_COLUMNS, (cell.run_row() for cell in cells))


class _CellRecord:
    """What a cell's files record of it; ``entry`` is from the list ``cells`` in ``benchmark.json``."""

    def __init__(self, folder: BenchmarkFolder, entry: Mapping[str, Any]):
        self._path = folder.path / entry["run_folder"]
        self._record = _read(self._path / RUN_FILE)
        self._status = IMPOSSIBLE if entry.get("impossible") else self._record.get("status", WAITING)
        if self._status == RUNNING and not is_held(self._path / LOCK_FILE):
            self._status = INTERRUPTED
        pretraining = entry.get("pretraining_folder")
        self._pretraining = _read(folder.path / pretraining / RUN_FILE) if pretraining else {}
        self._names = {name: entry.get(name) for name in (*CELL_NAMES, "run_folder")}

    def result_rows(self) -> list[dict[str, Any]]:
        if self._status != FINISHED:
            return []
        return [self._names | row for row in read_json(self._path / METRICS_FILE)]

    def run_row(self) -> dict[str, Any]:
        return self._names | {
            "status": self._status,
            "seconds_pretraining": seconds_of(self._pretraining, "nnUNetv2_train"),
            "seconds_training": seconds_of(self._record, "nnUNetv2_train"),
            "seconds_prediction": seconds_of(self._record, "nnUNetv2_predict"),
        }


def seconds_of(record: Mapping[str, Any], program: str) -> float | None:
    """Elapsed time of all attempts at a program, interrupted ones too; None where there was none."""
    seconds = [attempt["seconds"] for attempt in record.get("attempts", []) if attempt["command"].startswith(program)]
    return round(sum(seconds), 1) if seconds else None


def _read(file: Path) -> dict[str, Any]:
    return read_json(file) if file.is_file() else {}


def _write(path: Path, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
