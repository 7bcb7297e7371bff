"""From what was asked for to a folder in which everything can run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from filelock import FileLock

from nnunet_pix2rep.benchmark.design.few_shot_draws import add_folds, draw_folds, key_of
from nnunet_pix2rep.benchmark.design.layout import BenchmarkFolder
from nnunet_pix2rep.benchmark.design.linked_dataset import (
    REFERENCES,
    expression_of_patients,
    find_dataset,
    link_dataset,
    read_patients_of,
    record_of_expression,
    write_own_plans,
)
from nnunet_pix2rep.benchmark.design.matrix import Matrix, MatrixBuilder
from nnunet_pix2rep.benchmark.design.method_names import find_methods
from nnunet_pix2rep.benchmark.design.methods import Method
from nnunet_pix2rep.benchmark.design.settings import BenchmarkSettings
from nnunet_pix2rep.benchmark.design.test_patients import TestSet, read_test_folder, shorten
from nnunet_pix2rep.benchmark.design.training_lengths import BenchmarkPlans
from nnunet_pix2rep.benchmark.execution.annotating.candidates import (
    find_candidates,
    keep_candidates,
    read_candidates,
)
from nnunet_pix2rep.benchmark.execution.annotating.features import CandidateFeatures
from nnunet_pix2rep.benchmark.execution.annotating.prepare import Annotator
from nnunet_pix2rep.benchmark.execution.annotating.sparse_dataset import SparseDataset
from nnunet_pix2rep.benchmark.execution.evaluation import Evaluator
from nnunet_pix2rep.benchmark.execution.executor import Executor
from nnunet_pix2rep.benchmark.execution.result_tables import write_tables
from nnunet_pix2rep.benchmark.launch.record import UserDataset, benchmark_record
from nnunet_pix2rep.benchmark.launch.weights_guard import check_weights, weights_record
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.dataset_cases import LABELED_FOLDER, labeled_images
from nnunet_pix2rep.nnunet.data.dataset_folders import raw_folder
from nnunet_pix2rep.nnunet.patients.few_shot_folds import FewShotFold
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
    _check_weights(methods, dataset, settings.dataset, settings.patient_regex)
    own = folder.preprocessed / settings.dataset
    folder.path.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.path / ".setup.lock"):
        if folder.read_record() is None:
            # First of all, so that a folder that is left half made is known for what it is.
            folder.write_record({"settings": settings.shared()})
        weights = weights_record(methods, folder)
        folds = _write_folds(own, dataset, settings)
        identifier = resolve_configuration(dataset.plans, settings.configuration)["data_identifier"]
        link_dataset(dataset.folder, own, identifier, dataset.test_set.held_out)
        pool = read_pool(pool_folder(own, identifier))
        candidates = {patient.name for patient in dataset.patients.values()} - set(folds[0].validation_patients)
        builder = MatrixBuilder(
            folder, settings, plans=plans, num_unlabeled=len(pool.images) if pool else 0, num_candidates=len(candidates)
        )
        annotator = None if settings.budgets is None else _annotator(folder, dataset, folds[0], settings)
        if annotator is None:
            matrix = builder.build(methods, folds)
        else:
            matrix = builder.build_budgets(methods, annotator.available)
        _write_plans(own, plans, methods, matrix)
        evaluator = Evaluator(
            read_json(own / "dataset.json"), dataset.plans, dataset.test_set.labels, settings.surface_tolerance
        )
        folder.write_record(
            benchmark_record(
                folder,
                settings,
                dataset=dataset,
                weights=weights,
                folds=folds,
                plans=plans,
                matrix=matrix,
                evaluator=evaluator,
            )
        )
    write_tables(folder)
    return Benchmark(folder, matrix, plans, Executor(folder, dataset.test_set, evaluator, annotator))


def _read_dataset(settings: BenchmarkSettings) -> UserDataset:
    folder, plans = find_dataset(settings.dataset, settings.configuration, settings.plans)
    patients = read_patients_of(folder, settings.patient_regex)
    if settings.test_folder is not None:
        test_set = read_test_folder(settings.test_folder, folder, patients, settings.patient_regex)
        return UserDataset(folder, plans, patients=patients, drawn=draw_folds(patients, settings), test_set=test_set)
    drawn = draw_folds(patients, settings)
    raw = raw_folder(folder.name)
    cases = {case: patients[case].name for case in drawn[0].validation_cases}
    # images that dataset.json lists one by one are in no folder that could be named
    images = raw / LABELED_FOLDER if raw is not None and "dataset" not in read_json(raw / "dataset.json") else None
    test_set = TestSet(cases, (folder / REFERENCES).resolve(), images, has_own_images=False)
    return UserDataset(folder, plans, patients=patients, drawn=drawn, test_set=test_set)


def _annotator(
    folder: BenchmarkFolder, dataset: UserDataset, fold: FewShotFold, settings: BenchmarkSettings
) -> Annotator:
    raw = raw_folder(dataset.folder.name)
    if raw is None:
        raise UserError(
            f"--budget preprocesses images with the labels of a few slices, but {dataset.folder.name} is not in "
            "nnUNet_raw. Set nnUNet_raw to the folder that holds it."
        )
    own = folder.preprocessed / settings.dataset
    if not folder.candidates_file.is_file():
        cases = {case: dataset.patients[case].name for case in (*fold.train_cases, *fold.validation_cases)}
        scans = find_candidates(
            cases,
            own / REFERENCES,
            dataset_json=read_json(own / "dataset.json"),
            plans=dataset.plans,
            configuration=settings.configuration,
        )
        keep_candidates(scans, folder.candidates_file)
    scans = read_candidates(folder.candidates_file)
    images = labeled_images(raw, read_json(raw / "dataset.json"))
    return Annotator(
        candidates=[scan for scan in scans if scan.case in fold.train_cases],
        patients=dataset.patients,
        fold=fold,
        dataset=SparseDataset(
            source=own,
            images=images,
            plans=dataset.plans,
            configuration=settings.configuration,
            fully_labeled=folder.annotation_sets / "fully_labelled",
            validation=[scan for scan in scans if scan.case in fold.validation_cases],
        ),
        features=CandidateFeatures(
            folder=folder.annotation_sets / "features",
            data=own / resolve_configuration(dataset.plans, settings.configuration)["data_identifier"],
            images=images,
            dataset_json=read_json(own / "dataset.json"),
            plans=dataset.plans,
            seed=settings.split_seed,
        ),
        seed=settings.split_seed,
    )


def _check_weights(
    methods: Sequence[Method], dataset: UserDataset, dataset_name: str, patient_regex: str | None = None
) -> None:
    for method in methods:
        if method.weights is not None:
            check_weights(method.weights, dataset, dataset_name, patient_regex)


def _write_folds(own: Path, dataset: UserDataset, settings: BenchmarkSettings) -> list[FewShotFold]:
    """Writes all folds that were ever asked for; returns those that are asked for now."""
    has_begun = (own / SPLITS_RECORD).is_file()
    # what a benchmark records are few-shot folds
    earlier = cast(list[FewShotFold], read_recorded_folds(own)) if has_begun else []
    folds = add_folds(earlier, dataset.drawn)
    if has_begun:
        _check_cases(own, dataset)
    expression = record_of_expression(expression_of_patients(dataset.folder, settings.patient_regex))
    own.mkdir(parents=True, exist_ok=True)
    # also where no fold is new: a record that an earlier version wrote lacks the expression
    record = {"kind": "benchmark", "seed": settings.split_seed, **expression}
    for backup in write_splits(own, folds, dataset.patients, record).backups:  # their folds are all in the new file
        backup.unlink()
    wanted = {key_of(fold) for fold in dataset.drawn}
    return [fold for fold in folds if key_of(fold) in wanted]


def _check_cases(own: Path, dataset: UserDataset) -> None:
    """Refuses other cases than at the first start: each is an image that pretrainings see, whoever is drawn."""
    changed = sorted(read_json(own / SPLITS_RECORD)["patients"].keys() ^ dataset.patients.keys())
    if changed:
        raise UserError(
            f"Cases have come to {own.name} or gone since this benchmark was begun: {shorten(changed)}. Its methods "
            "would be trained on different images. Use a new folder with -o."
        )


def _write_plans(own: Path, plans: BenchmarkPlans, methods: Sequence[Method], matrix: Matrix) -> None:
    for method in methods:
        write_own_plans(own, plans.for_method(method))
    for pretraining in matrix.pretrainings:
        write_own_plans(own, plans.for_pretraining(pretraining.seed))
