"""``benchmark.json``: what was asked for, and what of it there is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_pix2rep.benchmark.design.few_shot_draws import key_of, number_of_shots
from nnunet_pix2rep.benchmark.design.layout import BenchmarkFolder, union, union_of_shots
from nnunet_pix2rep.benchmark.design.matrix import Matrix
from nnunet_pix2rep.benchmark.design.runs import PlannedCell
from nnunet_pix2rep.benchmark.design.settings import BenchmarkSettings
from nnunet_pix2rep.benchmark.design.test_patients import TestSet
from nnunet_pix2rep.benchmark.design.training_lengths import BenchmarkPlans
from nnunet_pix2rep.benchmark.execution.evaluation import Evaluator
from nnunet_pix2rep.benchmark.execution.machine import hardware, versions
from nnunet_pix2rep.nnunet.patients.few_shot_folds import FewShotFold
from nnunet_pix2rep.nnunet.patients.patients import Patient


@dataclass(frozen=True)
class UserDataset:
    """The user's dataset as a benchmark sees it.

    Attributes:
        folder: Its preprocessed folder.
        plans: Content of its plans.
        patients: The patient of every case.
        drawn: The folds that are asked for.
        test_set: What is predicted.
    """

    folder: Path
    plans: dict[str, Any]
    patients: dict[str, Patient]
    drawn: list[FewShotFold]
    test_set: TestSet


def benchmark_record(
    folder: BenchmarkFolder,
    settings: BenchmarkSettings,
    dataset: UserDataset,
    weights: Mapping[str, str],
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
        "methods": union(earlier.get("methods", []), (cell.arm for cell in matrix.cells)),
        "weights": dict(weights),
        **_effort(settings, folds, earlier),
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
        "splits": earlier.get("splits", {}) | _splits(settings, folds),
        "cells": union(earlier.get("cells", []), (_cell(folder, cell) for cell in matrix.cells)),
        "settings": settings.shared(),
        "versions": versions(),
        "hardware": hardware(),
    }


def _effort(settings: BenchmarkSettings, folds: Sequence[FewShotFold], earlier: Mapping[str, Any]) -> dict[str, Any]:
    """In what annotation is counted, and how much of it there is."""
    if settings.budgets is None:
        return {"shots": union_of_shots(earlier.get("shots", []), (fold.shots for fold in folds))}
    return {
        "effort": "slices",
        "budgets": union_of_shots(earlier.get("budgets", []), settings.budgets),
        "selectors": union(earlier.get("selectors", []), settings.used_selectors),
    }


def _splits(settings: BenchmarkSettings, folds: Sequence[FewShotFold]) -> dict[str, Any]:
    """The labeled patients of every draw; those of annotation sets are in the sets' own records."""
    return {} if settings.budgets is not None else {key_of(fold): _split(fold) for fold in folds}


def _split(fold: FewShotFold) -> dict[str, Any]:
    return {
        "shots": number_of_shots(fold),
        "seed": fold.seed,
        "fold": fold.fold,
        "train_patients": list(fold.train_patients),
        "train_cases": list(fold.train_cases),
    }


def _cell(folder: BenchmarkFolder, cell: PlannedCell) -> Mapping[str, Any]:
    pretraining, chosen = cell.pretraining, cell.annotation_set
    names = cell.names if chosen is not None else {"method": cell.method.name, "shots": cell.shots, "seed": cell.seed}
    return {
        **names,
        **({} if chosen is None else {"annotation_set": chosen.folder.relative_to(folder.path).as_posix()}),
        "run_folder": cell.folder.relative_to(folder.path).as_posix(),
        "pretraining_folder": None if pretraining is None else pretraining.folder.relative_to(folder.path).as_posix(),
        "impossible": cell.impossible,
    }
