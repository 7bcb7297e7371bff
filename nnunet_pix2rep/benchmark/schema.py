"""Names and columns of the files in a benchmark's folder, for those that write and those that read them.

``docs/reference/benchmark-files.md`` documents them.
"""

from __future__ import annotations

FORMAT_VERSION = 1
BENCHMARK_FILE, RESULTS_FILE, RUNS_FILE = "benchmark.json", "results.csv", "runs.csv"
SET_FILE = "annotation_set.json"
CELL_NAMES = ("method", "shots", "selector", "budget", "seed")
"""What tells cells apart. ``shots`` counts labeled patients; where the effort is counted in slices it is empty, and
``budget`` counts them and ``selector`` says what chose them."""
METRICS = ("dice", "surface_dice", "hd95")
RESULT_COLUMNS = (*CELL_NAMES, "patient", "case", "class", *METRICS, "run_folder")
SECONDS_COLUMNS = ("seconds_pretraining", "seconds_training", "seconds_prediction")
RUN_COLUMNS = (*CELL_NAMES, "status", *SECONDS_COLUMNS, "run_folder")
LATER_COLUMNS = ("selector", "budget")
"""Tables of older benchmarks do not have these."""
ARM_SEPARATOR = " + "
ALL_SLICES = "all_slices"
"""Stands for a selector where nothing is chosen: every slice that has labels is annotated."""


def arm_of(method: str, selector: str | None) -> str:
    """What a report compares at the same effort: a method, with the selector where slices were chosen."""
    return f"{method}{ARM_SEPARATOR}{selector}" if selector else method


def selector_of(arm: str) -> str:
    """The selector in what :func:`arm_of` gives; empty: there is none."""
    return arm.rpartition(ARM_SEPARATOR)[2] if ARM_SEPARATOR in arm else ""
