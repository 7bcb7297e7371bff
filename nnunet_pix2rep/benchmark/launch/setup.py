"""From what was asked for to a folder in which everything can run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from filelock import FileLock

from nnunet_pix2rep.benchmark.design.few_shot_draws import add_folds, draw_folds, key_of, number_of_shots
from nnunet_pix2rep.benchmark.design.layout import BenchmarkFolder, union, union_of_shots
from nnunet_pix2rep.benchmark.design.linked_dataset import (
    REFERENCES,
    find_dataset,
    link_dataset,
    read_patients_of,
    write_own_plans,
)
from nnunet_pix2rep.benchmark.design.matrix import Matrix, MatrixBuilder
from nnunet_pix2rep.benchmark.design.method_names import find_methods
from nnunet_pix2rep.benchmark.design.methods import Method
from nnunet_pix2rep.benchmark.design.settings import BenchmarkSettings
from nnunet_pix2rep.benchmark.design.test_patients import TestSet, read_test_folder
from nnunet_pix2rep.benchmark.design.training_lengths import BenchmarkPlans
from nnunet_pix2rep.benchmark.execution.evaluation import Evaluator
from nnunet_pix2rep.benchmark.execution.executor import Executor
from nnunet_pix2rep.benchmark.execution.machine import hardware, versions
from nnunet_pix2rep.benchmark.execution.result_tables import write_tables
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import check_leak
from nnunet_pix2rep.nnunet.data.dataset_cases import LABELLED_FOLDER
from nnunet_pix2rep.nnunet.data.dataset_folders import raw_folder
from nnunet_pix2rep.nnunet.patients.few_shot_folds import FewShotFold
from nnunet_pix2rep.nnunet.patients.patients import Patient
from nnunet_pix2rep.nnunet.patients.split_files import RECORD_FILE as SPLITS_RECORD
from nnunet_pix2rep.nnunet.patients.split_files import read_recorded_folds, write_splits
from nnunet_pix2rep.nnunet.plans.plans_file import resolve_configuration
from nnunet_pix2rep.nnunet.unlabeled.pool import pool_folder, read_pool


@dataclass(frozen=True)
class Benchmark:
    """A benchmark that is ready to run.

    Attributes:
        folder: Its folder.
        matrix: The runs that were asked for now.
        plans: Its plans.
        executor: Does the runs.
    """

    folder: BenchmarkFolder
    matrix: Matrix
    plans: BenchmarkPlans
    executor: Executor


@dataclass(frozen=True)
class _Dataset:
    """The user's dataset as the benchmark sees it."""

    folder: Path
    plans: dict[str, Any]
    patients: dict[str, Patient]
    drawn: list[FewShotFold]
    test_set: TestSet


def set_up(path: Path, settings: BenchmarkSettings) -> Benchmark:
    """Checks everything, then makes or extends the folder of a benchmark.

    Args:
        path: The folder.
        settings: What is asked for; in an existing folder methods, shots and seeds may differ from before.

    Raises:
        UserError: bad input, or a folder with results of other settings.
    """
    methods = find_methods(settings.methods)
    dataset = _read_dataset(settings)
    plans = BenchmarkPlans(dataset.plans, settings, f"plans {settings.plans}")
    folder = BenchmarkFolder(path)
    record = folder.read_record()
    if record is not None:
        folder.check_settings(settings, record)
    _check_weights(methods, dataset, settings.dataset)
    own = folder.preprocessed / settings.dataset
    folder.path.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.path / ".setup.lock"):
        if folder.read_record() is None:
            # First of all, so that a folder that is left half made is known for what it is.
            folder.write_record({"settings": settings.shared()})
        folds = _write_folds(own, dataset, settings)
        identifier = resolve_configuration(dataset.plans, settings.configuration)["data_identifier"]
        link_dataset(dataset.folder, own, identifier, dataset.test_set.patients.values())
        pool = read_pool(pool_folder(own, identifier))
        candidates = {patient.name for patient in dataset.patients.values()} - set(folds[0].validation_patients)
        builder = MatrixBuilder(folder, settings, plans, len(pool.images) if pool else 0, len(candidates))
        matrix = builder.build(methods, folds)
        _write_plans(own, plans, methods, matrix)
        evaluator = Evaluator(
            read_json(own / "dataset.json"), dataset.plans, dataset.test_set.labels, settings.surface_tolerance
        )
        folder.write_record(_record(folder, settings, dataset, folds, plans, matrix, evaluator))
    write_tables(folder)
    return Benchmark(folder, matrix, plans, Executor(folder, dataset.test_set, evaluator))


def _read_dataset(settings: BenchmarkSettings) -> _Dataset:
    folder, plans = find_dataset(settings.dataset, settings.configuration, settings.plans)
    patients = read_patients_of(folder, settings.patient_regex)
    if settings.test_folder is not None:
        test_set = read_test_folder(settings.test_folder, folder, patients, settings.patient_regex)
        return _Dataset(folder, plans, patients, draw_folds(patients, settings), test_set)
    drawn = draw_folds(patients, settings)
    raw = raw_folder(folder.name)
    cases = {case: patients[case].name for case in drawn[0].validation_cases}
    # images that dataset.json lists one by one are in no folder that could be named
    images = raw / LABELLED_FOLDER if raw is not None and "dataset" not in read_json(raw / "dataset.json") else None
    test_set = TestSet(cases, (folder / REFERENCES).resolve(), images, has_own_images=False)
    return _Dataset(folder, plans, patients, drawn, test_set)


def _check_weights(methods: Sequence[Method], dataset: _Dataset, dataset_name: str) -> None:
    """The leak guard, before anything runs: weights that were handed in may have seen the validation patients."""
    for method in methods:
        if method.weights is not None:
            checkpoint = load_checkpoint_file(method.weights)
            held_out = dataset.drawn[0].validation_cases
            check_leak(checkpoint, method.weights, dataset_name, dataset.folder, held_out)


def _write_folds(own: Path, dataset: _Dataset, settings: BenchmarkSettings) -> list[FewShotFold]:
    """Writes all folds that were ever asked for; returns those that are asked for now."""
    # what a benchmark records are few-shot folds
    earlier = cast(list[FewShotFold], read_recorded_folds(own)) if (own / SPLITS_RECORD).is_file() else []
    folds = add_folds(earlier, dataset.drawn)
    if folds != earlier:
        own.mkdir(parents=True, exist_ok=True)
        written = write_splits(own, folds, dataset.patients, {"kind": "benchmark", "seed": settings.split_seed})
        for backup in written.backups:  # of the benchmark's own file, whose folds are all in the new one
            backup.unlink()
    wanted = {key_of(fold) for fold in dataset.drawn}
    return [fold for fold in folds if key_of(fold) in wanted]


def _write_plans(own: Path, plans: BenchmarkPlans, methods: Sequence[Method], matrix: Matrix) -> None:
    for method in methods:
        write_own_plans(own, plans.for_method(method))
    for pretraining in matrix.pretrainings:
        write_own_plans(own, plans.for_pretraining(pretraining.seed))


def _record(
    folder: BenchmarkFolder,
    settings: BenchmarkSettings,
    dataset: _Dataset,
    folds: Sequence[FewShotFold],
    plans: BenchmarkPlans,
    matrix: Matrix,
    evaluator: Evaluator,
) -> dict[str, Any]:
    """The content of ``benchmark.json``, with what was asked for earlier."""
    earlier = folder.read_record() or {}
    lengths, test_set = plans.lengths, dataset.test_set
    return {
        "dataset": settings.dataset,
        "configuration": settings.configuration,
        "plans": settings.plans,
        "methods": union(earlier.get("methods", []), (cell.method.name for cell in matrix.cells)),
        "shots": union_of_shots(earlier.get("shots", []), (fold.shots for fold in folds)),
        "seeds": max(earlier.get("seeds", 0), settings.seeds),
        "iterations": settings.iterations,
        "lengths": {
            "pretraining_iterations": lengths.pretraining.iterations,
            "finetuning_iterations": lengths.finetuning.iterations,
        },
        "num_training_patients": len({patient.name for patient in dataset.patients.values()})
        - len(folds[0].validation_patients),
        "test_patients": sorted(set(test_set.patients.values())),
        "test_cases": dict(sorted(test_set.patients.items())),
        "test_folder": None if settings.test_folder is None else str(settings.test_folder),
        "images_folder": None if test_set.images is None else str(test_set.images),
        "labels_folder": str(test_set.labels),
        "labels": evaluator.labels(),
        "splits": earlier.get("splits", {}) | {key_of(fold): _split(fold) for fold in folds},
        "cells": union(earlier.get("cells", []), (_cell(folder, cell) for cell in matrix.cells)),
        "settings": settings.shared(),
        "versions": versions(),
        "hardware": hardware(),
    }


def _split(fold: FewShotFold) -> dict[str, Any]:
    return {
        "shots": number_of_shots(fold),
        "seed": fold.seed,
        "fold": fold.fold,
        "train_patients": list(fold.train_patients),
        "train_cases": list(fold.train_cases),
    }


def _cell(folder: BenchmarkFolder, cell: Any) -> Mapping[str, Any]:
    pretraining = cell.pretraining
    return {
        "method": cell.method.name,
        "shots": cell.shots,
        "seed": cell.seed,
        "run_folder": cell.folder.relative_to(folder.path).as_posix(),
        "pretraining_folder": None if pretraining is None else pretraining.folder.relative_to(folder.path).as_posix(),
        "impossible": cell.impossible,
    }
