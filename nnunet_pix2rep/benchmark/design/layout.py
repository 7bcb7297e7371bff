"""The folder of a benchmark: what lies where, and the record of its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from nnunet_pix2rep.benchmark.design.settings import BenchmarkSettings
from nnunet_pix2rep.benchmark.schema import BENCHMARK_FILE, FORMAT_VERSION, RESULTS_FILE, RUNS_FILE
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.patients.few_shot_folds import Shots


class BenchmarkFolder:
    """Paths in a benchmark's folder.

    Args:
        path: The folder, which need not exist.
    """

    def __init__(self, path: Path):
        self.path = path.resolve()
        self.record_file = self.path / BENCHMARK_FILE
        self.results_file = self.path / RESULTS_FILE
        self.runs_file = self.path / RUNS_FILE
        self.preprocessed = self.path / "nnUNet_preprocessed"
        self.cells = self.path / "cells"
        self.annotation_sets = self.path / "annotation_sets"
        self.candidates_file = self.annotation_sets / "candidates.json"
        self.pretrainings = self.path / "pretraining"

    def read_record(self) -> dict[str, Any] | None:
        """``benchmark.json``, or None where there is none yet.

        Raises:
            UserError: the folder holds something else, or the record of another version.
        """
        if not self.record_file.is_file():
            if self.path.exists() and (
                not self.path.is_dir() or any(not _is_hidden(file) for file in self.path.iterdir())
            ):
                raise UserError(f"{self.path} holds files, but no {BENCHMARK_FILE} of a benchmark. Choose another -o.")
            return None
        record = read_json(self.record_file)
        if not isinstance(record, dict) or record.get("format_version") != FORMAT_VERSION:
            raise UserError(f"{self.record_file} is not of a benchmark of this version. Choose another -o.")
        return record

    def check_settings(self, settings: BenchmarkSettings, record: Mapping[str, Any]) -> None:
        """Refuses a benchmark whose runs could not be compared with those that are there.

        Raises:
            UserError: naming what differs.
        """
        earlier, now = record["settings"], settings.shared()
        changed = [
            f"{name} was {earlier.get(name)!r} and is now {now.get(name)!r}"
            for name in sorted({*earlier, *now})
            if earlier.get(name) != now.get(name)
        ]
        if changed:
            raise UserError(
                f"{self.path} holds a benchmark with other settings: {'; '.join(changed)}. Choose another folder with "
                "-o, or repeat those settings. Methods, shots or budgets, selectors and seeds may be added."
            )

    def write_record(self, record: Mapping[str, Any]) -> None:
        """Writes ``benchmark.json``."""
        write_json({"format_version": FORMAT_VERSION, **record}, self.record_file)


def _is_hidden(file: Path) -> bool:
    return file.name.startswith(".")


def union(earlier: Iterable[Any], new: Iterable[Any]) -> list[Any]:
    """Both, each entry once, in the order of their first appearance."""
    entries = [*earlier, *new]
    return [entry for place, entry in enumerate(entries) if entry not in entries[:place]]


def union_of_shots(earlier: Iterable[Shots], new: Iterable[Shots]) -> list[Shots]:
    """Both in ascending order, ``"all"`` last."""
    shots = union(earlier, new)
    return sorted(number for number in shots if number != "all") + (["all"] if "all" in shots else [])
