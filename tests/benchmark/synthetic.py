"""Benchmark folders without any training: the tables that the runner would have written."""

import csv

import numpy as np

from nnunet_pix2rep.benchmark.schema import RESULT_COLUMNS, RUN_COLUMNS
from nnunet_pix2rep.files import write_json

DATASET = "Dataset999_Synthetic"
PATIENTS = ("p1", "p2", "p3", "p4")


def run_folder_of(method, shots, seed):
    return f"cells/{method}/shots_{shots}/seed_{seed}"


def labeled_patients(shots, seed):
    """Nested over shots, disjoint over seeds."""
    return [f"train{place}" if seed == 0 else f"train{place}_{seed}" for place in range(shots)]


def result_row(method, shots, seed, patient, dice, case=None, class_name="LV", surface_dice="", hd95=""):
    case = case or f"{patient}_ED"
    folder = run_folder_of(method, shots, seed)
    values = (method, shots, "", "", seed, patient, case, class_name, dice, surface_dice, hd95, folder)
    return dict(zip(RESULT_COLUMNS, values, strict=True))


def rows_of(method, shots, seed, dice, **further):
    """One case per patient, one class: ``dice`` is patient -> value."""
    return [result_row(method, shots, seed, patient, value, **further) for patient, value in dice.items()]


def some_rows(methods=("scratch", "pix2rep"), shots=(1, 4), seeds=(0, 1), **further):
    """Random Dice of the four patients in every cell."""
    generator = np.random.default_rng(0)
    return [
        row
        for method in methods
        for number in shots
        for seed in seeds
        for row in rows_of(method, number, seed, dict(zip(PATIENTS, generator.random(4), strict=True)), **further)
    ]


def write_benchmark(folder, rows, methods=None, subsets=None, test_patients=None, runs=(), **description):
    """Writes a benchmark folder; what is not given follows from the rows."""
    if subsets is None:
        subsets = sorted({(row["shots"], row["seed"]) for row in rows})
    write_json(
        {
            "format_version": 1,
            "dataset": DATASET,
            "configuration": "2d",
            "plans": "nnUNetPlans",
            "methods": methods or list(dict.fromkeys(row["method"] for row in rows)),
            "shots": sorted({shots for shots, _ in subsets}),
            "seeds": len({seed for _, seed in subsets}),
            "test_patients": test_patients or sorted({row["patient"] for row in rows}),
            "splits": {
                f"{shots}_{seed}": {"train_patients": labeled_patients(shots, seed), "train_cases": []}
                for shots, seed in subsets
            },
            "versions": {"nnunetv2": "2.8.1"},
            "hardware": {"cpu": "none"},
            "labels": {str(label): name for label, name in enumerate(dict.fromkeys(row["class"] for row in rows), 1)},
            **description,
        },
        folder / "benchmark.json",
    )
    _write_table(folder / "results.csv", RESULT_COLUMNS, rows)
    if runs:
        _write_table(folder / "runs.csv", RUN_COLUMNS, runs)
    return folder


def _write_table(file, columns, rows):
    with file.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
