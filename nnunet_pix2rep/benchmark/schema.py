"""Names and columns of the files in a benchmark's folder, for those that write and those that read them.

``docs/benchmark.md`` documents them.
"""

from __future__ import annotations

FORMAT_VERSION = 1
BENCHMARK_FILE, RESULTS_FILE, RUNS_FILE = "benchmark.json", "results.csv", "runs.csv"
METRICS = ("dice", "surface_dice", "hd95")
RESULT_COLUMNS = ("method", "shots", "seed", "patient", "case", "class", *METRICS, "run_folder")
SECONDS_COLUMNS = ("seconds_pretraining", "seconds_training", "seconds_prediction")
RUN_COLUMNS = ("method", "shots", "seed", "status", *SECONDS_COLUMNS, "run_folder")
