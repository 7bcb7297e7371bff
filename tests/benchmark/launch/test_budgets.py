"""A benchmark whose effort is counted in annotated slices, with a fake nnU-Net."""

import shutil

import blosc2
import numpy as np
import pytest
from batchgenerators.utilities.file_and_folder_operations import load_pickle
from fake_nnunet import rows_of_table
from tiny_training import CASES, DATASET, PLANS, make_trainer, prepare_for_training

from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.benchmark.execution.machine import Slot
from nnunet_pix2rep.benchmark.launch.local_runner import Runner
from nnunet_pix2rep.benchmark.launch.setup import set_up
from nnunet_pix2rep.benchmark.report.numbers.analysis import ReportSettings, analyze, default_reference
from nnunet_pix2rep.benchmark.report.reading.results import read_benchmark
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.patients.split_files import known_patients
from nnunet_pix2rep.trainers.nnUNetTrainerPix2RepV2Pretrain import nnUNetTrainerPix2RepV2Pretrain

IGNORED = 3
SELECTORS = ("random_patients", "one_per_patient")


@pytest.fixture
def make(dataset, settings, tmp_path):
    def make(**changes):
        given = {"shots": None, "budgets": (3, 14), "selectors": SELECTORS, "methods": ("scratch", "pix2rep")}
        return set_up(tmp_path / "out", settings(**given | changes))

    return make


def untrained_checkpoint(folder, results):
    """What a Pix2Rep-v2 pretraining of no steps leaves."""
    with pytest.MonkeyPatch.context() as patch:
        prepare_for_training(patch, folder, results)
        trainer = make_trainer(nnUNetTrainerPix2RepV2Pretrain, folder, "all")
        trainer.initialize()
        return trainer.checkpoint_content(1)


def run(benchmark):
    assert Runner(benchmark, [Slot("cpu")]).run() == {}


def state_of(folder):
    return {path: path.lstat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_all_methods_are_trained_on_the_slices_of_a_selector_and_tested_on_full_labels(make, fake, dataset):
    before = state_of(dataset.parents[1])
    benchmark = make()
    run(benchmark)
    assert state_of(dataset.parents[1]) == before
    assert len(fake.commands) == 1 + 2 * 2 * 2
    rows = rows_of_table(benchmark.folder.results_file)
    assert {(row["method"], row["selector"], row["budget"], row["seed"], row["shots"]) for row in rows} == {
        (method, selector, budget, "0", "")
        for method in ("scratch", "pix2rep")
        for selector in SELECTORS
        for budget in ("3", "14")
    }
    assert {row["dice"] for row in rows} == {"1.0"}  # the fake predicts the full labels
    assert {row["status"] for row in rows_of_table(benchmark.folder.runs_file)} == {"finished"}
    folders = {str(cell.annotation_set.folder) for cell in benchmark.matrix.cells}
    assert len(folders) == 4
    used = {environment["nnUNet_preprocessed"] for environment in fake.environments[1:]}
    assert used == {f"{folder}/nnUNet_preprocessed" for folder in folders}
    assert fake.environments[0]["nnUNet_preprocessed"] == str(benchmark.folder.preprocessed)  # the pretraining


def test_nothing_but_the_chosen_slices_is_annotated(make, fake, dataset):
    benchmark = make(methods=("scratch",), selectors=("middle",), budgets=(6,))
    run(benchmark)
    (cell,) = benchmark.matrix.cells
    chosen = cell.annotation_set.record
    own = cell.annotation_set.preprocessed / DATASET
    assert len(chosen["slices"]) == 6
    dataset_json = read_json(own / "dataset.json")
    assert dataset_json["labels"]["ignore"] == IGNORED
    (fold,) = read_json(own / "splits_final.json")
    assert set(fold["train"]) == {entry["case"] for entry in chosen["slices"]}
    assert set(fold["val"]) == set(benchmark.executor.test_set.patients)
    files = LabelFiles(dataset_json)
    for case in fold["train"]:
        indices = sorted(entry["index"] for entry in chosen["slices"] if entry["case"] == case)
        labels = files.read(own / "labels" / f"{case}.nii.gz").labels
        full = files.read(dataset / "gt_segmentations" / f"{case}.nii.gz").labels
        annotated = np.isin(np.arange(len(full)), indices)
        assert (labels[annotated] == full[annotated]).all()
        assert (labels[~annotated] == IGNORED).all()
        preprocessed = blosc2.open(str(own / f"{PLANS}_2d" / f"{case}_seg.b2nd"))[:]
        assert sorted(set(np.flatnonzero((preprocessed[0] != IGNORED).any(axis=(1, 2))))) == indices
        image = own / f"{PLANS}_2d" / f"{case}.b2nd"
        assert not image.is_symlink()
        assert np.array_equal(blosc2.open(str(image))[:], blosc2.open(str(dataset / f"{PLANS}_2d" / image.name))[:])
    annotated_key = (-1, 0, 1, 2)  # nnU-Net's loader draws from these voxels
    for case in fold["train"] + fold["val"]:
        assert len(load_pickle(str(own / f"{PLANS}_2d" / f"{case}.pkl"))["class_locations"][annotated_key]) > 0
    for case in fold["val"]:
        validation, full = (
            blosc2.open(str(own_or / f"{PLANS}_2d" / f"{case}_seg.b2nd"))[:] for own_or in (own, dataset)
        )
        assert np.array_equal(validation, full)
    (left_out,) = {*CASES} - {*fold["train"], *fold["val"]}
    link = own / f"{PLANS}_2d" / f"{left_out}_seg.b2nd"
    assert link.resolve() == (dataset / f"{PLANS}_2d" / link.name).resolve()


def test_an_annotation_set_knows_patients_by_the_regular_expression_of_the_benchmark(make, fake):
    benchmark = make(methods=("scratch",), selectors=("middle",), budgets=(3,), patient_regex=r"(case_\d+).*")
    run(benchmark)
    (cell,) = benchmark.matrix.cells
    for folder in (benchmark.folder.preprocessed, cell.annotation_set.preprocessed):
        assert known_patients(folder / DATASET, ["case_00_mid"])["case_00_mid"].name == "case_00"


def test_draws_differ_and_budgets_of_a_draw_are_nested(make, fake):
    benchmark = make(methods=("scratch",), selectors=("random", "middle"), budgets=(4, 8), seeds=2)
    annotator = benchmark.executor.annotator
    chosen = {
        (cell.annotation_set.selector, cell.annotation_set.budget, cell.seed): annotator.choose(cell.annotation_set)
        for cell in benchmark.matrix.cells
    }
    for draw in range(2):
        assert set(chosen["random", 4, draw]) < set(chosen["random", 8, draw])
    for selector in ("random", "middle"):
        assert set(chosen[selector, 8, 0]) != set(chosen[selector, 8, 1])
    assert len({entry.case for entry in chosen["middle", 8, 0]}) == 3  # one of four patients is left out
    assert chosen == {
        key: annotator.choose(cell.annotation_set) for key, cell in zip(chosen, benchmark.matrix.cells, strict=True)
    }


def test_budgets_selectors_and_methods_may_be_added_but_not_shots(make, fake):
    run(make(methods=("scratch",), budgets=(3,)))
    fake.commands.clear()
    benchmark = make(methods=("scratch", "scratch_same_schedule"), budgets=(3, 5), selectors=(*SELECTORS, "random"))
    run(benchmark)
    assert len(fake.commands) == 2 * 2 * 3 - 2
    record = read_json(benchmark.folder.record_file)
    assert (record["budgets"], record["selectors"]) == ([3, 5], [*SELECTORS, "random"])
    with pytest.raises(UserError, match="effort was 'slices' and is now None"):
        make(budgets=None, selectors=None, shots=(1,))


def test_an_annotation_set_that_was_left_half_made_is_made_again(make, fake, monkeypatch):
    benchmark = make(methods=("scratch",), budgets=(3,), selectors=("random",))
    (cell,) = benchmark.matrix.cells
    calls = []

    def interrupt():
        calls.append(None)
        if len(calls) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        benchmark.executor.execute(cell, Slot("cpu"), interrupt)
    assert cell.annotation_set.record is None
    assert fake.commands == []
    run(make(methods=("scratch",), budgets=(3,), selectors=("random",)))
    assert len(cell.annotation_set.record["slices"]) == 3


def test_a_budget_above_what_there_is_makes_the_cell_impossible(make, fake):
    benchmark = make(methods=("scratch",), budgets=(47, 49), selectors=("random", "middle"))
    impossible = {(c.annotation_set.selector, c.annotation_set.budget): c.impossible for c in benchmark.matrix.cells}
    assert impossible["random", 47] is None
    assert impossible["random", 49] == "there are 48 slices to choose from"
    assert impossible["middle", 47] == "there are 36 slices to choose from"


def test_no_slice_with_labels_is_too_few(make, fake, monkeypatch):
    monkeypatch.setattr("nnunet_pix2rep.benchmark.execution.annotating.prepare.Annotator.available", lambda *_: 0)
    (cell,) = make(methods=("scratch",), budgets=("all",)).matrix.cells
    assert cell.impossible == "there are 0 slices to choose from"


def test_all_slices_are_one_draw_of_every_label_that_the_others_are_measured_by(make, fake, dataset):
    benchmark = make(methods=("scratch", "pix2rep"), selectors=("random",), budgets=("all", 6), seeds=2)
    run(benchmark)
    whole = [cell for cell in benchmark.matrix.cells if cell.annotation_set.selector == "all_slices"]
    assert [(cell.method.name, cell.annotation_set.budget, cell.seed) for cell in whole] == [
        ("scratch", 48, 0),
        ("pix2rep", 48, 0),
    ]
    own = whole[0].annotation_set.preprocessed / DATASET
    files = LabelFiles(read_json(own / "dataset.json"))
    (fold,) = read_json(own / "splits_final.json")
    assert len(fold["train"]) == 4
    for case in fold["train"]:
        full = files.read(dataset / "gt_segmentations" / f"{case}.nii.gz").labels
        assert np.array_equal(files.read(own / "labels" / f"{case}.nii.gz").labels, full)
    results = read_benchmark(benchmark.folder.path)
    assert (results.description["budgets"], results.description["selectors"]) == ([6, "all"], ["random"])
    reference = default_reference(results.description["methods"])
    assert reference == "scratch + random"
    analysis = analyze(results, ReportSettings(reference=reference, num_resamples=50))
    assert [(row["method"], row["shots"], row["share"]) for row in analysis["full_annotation"]] == [
        ("scratch + random", 6, 1.0),
        ("pix2rep + random", 6, 1.0),  # the fake predicts the full labels
    ]
    assert {row["method"] for row in analysis["annotation_saving"]} == {"pix2rep + random"}


def test_all_slices_alone_need_no_selector(make, fake):
    benchmark = make(methods=("scratch", "mean_teacher_scratch"), selectors=None, budgets=("all",), seeds=3)
    assert [cell.impossible for cell in benchmark.matrix.cells] == [None, None]
    record = read_json(benchmark.folder.record_file)
    assert (record["budgets"], record["selectors"]) == (["all"], [])
    assert default_reference(record["methods"]) == "scratch + all_slices"


def test_a_budget_is_counted_once_and_as_many_slices_as_there_are_is_all(make, fake):
    benchmark = make(methods=("scratch",), selectors=("random",), budgets=(48, 6, "all", 6), seeds=2)
    chosen = [(c.annotation_set.selector, c.annotation_set.budget, c.seed) for c in benchmark.matrix.cells]
    assert chosen == [("random", 6, 0), ("all_slices", 48, 0), ("random", 6, 1)]


def test_the_raw_images_are_needed(make, monkeypatch, tmp_path):
    monkeypatch.setenv("nnUNet_raw", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="is not in nnUNet_raw"):
        make()


def test_the_report_compares_methods_with_their_selectors_over_slices(make, fake):
    benchmark = make(seeds=2)
    run(benchmark)
    results = read_benchmark(benchmark.folder.path)
    assert default_reference(results.description["methods"]) == "scratch + random_patients"
    analysis = analyze(results, ReportSettings(reference="scratch + random_patients", num_resamples=50))
    assert analysis["effort"] == "slices"
    assert analysis["shots"] == [3, 14]
    arms = {f"{method} + {selector}" for method in ("scratch", "pix2rep") for selector in SELECTORS}
    assert set(analysis["methods"]) == arms
    assert {row["method"] for row in analysis["comparisons"]} == arms - {"scratch + random_patients"}
    assert {row["method"] for row in analysis["annotation_saving"]} == arms - {"scratch + random_patients"}
    assert all(cell["labelled_patients"] for cell in analysis["cells"])
    shutil.rmtree(benchmark.folder.annotation_sets)  # only the tables were kept
    assert read_benchmark(benchmark.folder.path).finished.keys() == results.finished.keys()


def test_a_selector_that_looks_at_features_waits_for_the_pretraining_and_uses_it(make, fake, dataset, tmp_path):
    benchmark = make(methods=("scratch",), selectors=("coverage", "random"), budgets=(3, 6))
    by_features = [cell for cell in benchmark.matrix.cells if cell.annotation_set.selector == "coverage"]
    (pretraining,) = benchmark.matrix.pretrainings
    assert pretraining.trainer == "nnUNetTrainerPix2RepV2Pretrain"
    assert {cell.prerequisites for cell in by_features} == {(pretraining,)}
    assert {cell.pretraining for cell in benchmark.matrix.cells} == {None}  # scratch stays scratch
    fake.checkpoints = {pretraining.trainer: untrained_checkpoint(dataset, tmp_path)}
    run(benchmark)
    assert fake.trainers()[0] == pretraining.trainer
    for cell in by_features:
        record = cell.annotation_set.record
        assert record["checkpoint"] == str(pretraining.final_checkpoint)
        assert len(record["slices"]) == cell.annotation_set.budget
        assert len(record["patients_left_out"]) == 1
        assert not {*record["patients"]} & {*record["patients_left_out"]}
    fewer, more = (cell.annotation_set.record["slices"] for cell in by_features)
    assert len({entry["case"] for entry in fewer}) == 3  # no second slice before everybody has one
    assert more[:3] == fewer
