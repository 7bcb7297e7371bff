from pathlib import Path

import pandas as pd
import pytest
from synthetic import result_row, rows_of, run_folder_of, write_benchmark

from nnunet_pix2rep.benchmark.report.numbers.aggregation import num_undefined, patient_scores
from nnunet_pix2rep.benchmark.report.reading.completeness import cell_records, completeness, missing_draws
from nnunet_pix2rep.benchmark.report.reading.result_files import read_table
from nnunet_pix2rep.benchmark.report.reading.results import CellKey, read_benchmark
from nnunet_pix2rep.benchmark.schema import RESULT_COLUMNS
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json

PUBLISHED = Path(__file__).resolve().parents[4] / "docs" / "benchmarks"


def read(folder, rows, **keywords):
    return read_benchmark(write_benchmark(folder, rows, **keywords))


def test_the_mean_is_over_classes_then_cases_then_patients(tmp_path):
    rows = [
        result_row("scratch", 1, 0, "a", 0.2, "a_ED", "RV"),
        result_row("scratch", 1, 0, "a", 0.4, "a_ED", "LV"),
        result_row("scratch", 1, 0, "a", 0.5, "a_ES", "RV"),
        result_row("scratch", 1, 0, "a", 0.7, "a_ES", "LV"),
        result_row("scratch", 1, 0, "b", 0.8, "b_ED", "RV"),
        result_row("scratch", 1, 0, "b", 1.0, "b_ED", "LV"),
    ]
    benchmark = read(tmp_path, rows)
    scores = patient_scores(benchmark)["scratch", 1]
    assert scores.patient_means == pytest.approx([(0.3 + 0.6) / 2, 0.9])  # not the mean of six rows, 0.6
    assert scores.mean == pytest.approx(0.675)
    assert patient_scores(benchmark, "dice", "RV")["scratch", 1].patient_means == pytest.approx([0.35, 0.8])


def test_an_undefined_dice_takes_no_part_in_the_mean(tmp_path):
    rows = [
        result_row("scratch", 1, 0, "a", "", "a_ED", "RV"),
        result_row("scratch", 1, 0, "a", 0.4, "a_ED", "LV"),
        result_row("scratch", 1, 0, "b", "", "b_ED", "RV"),
        result_row("scratch", 1, 0, "b", "", "b_ED", "LV"),
    ]
    benchmark = read(tmp_path, rows)
    scores = patient_scores(benchmark)["scratch", 1]
    assert scores.patient_means == pytest.approx([0.4, float("nan")], nan_ok=True)
    assert (scores.mean, scores.num_patients) == (pytest.approx(0.4), 1)
    assert num_undefined(benchmark, "dice") == {("scratch", 1): 3}
    assert not benchmark.incomplete_patients


def test_a_patient_who_lacks_a_case_is_incomplete_and_not_a_mean_of_the_others(tmp_path):
    whole = [result_row("scratch", 1, 0, "a", dice, case) for dice, case in ((0.2, "a_ED"), (0.8, "a_ES"))]
    part = [result_row("pix2rep", 1, 0, "a", 0.9, "a_ES")]
    others = [row for method in ("scratch", "pix2rep") for row in rows_of(method, 1, 0, {"b": 0.5})]
    benchmark = read(tmp_path, [*whole, *part, *others])
    assert benchmark.incomplete_patients == {CellKey("pix2rep", 1, 0): ["a"]}
    assert patient_scores(benchmark)["pix2rep", 1].patient_means == pytest.approx([float("nan"), 0.5], nan_ok=True)
    (entry,) = completeness(benchmark)["without_all_patients"]
    assert (entry["method"], entry["patients"]) == ("pix2rep", ["a"])


def test_a_class_that_a_cell_lacks_is_undefined_there(tmp_path):
    rows = [result_row("scratch", 1, 0, "a", 0.2, class_name=name) for name in ("RV", "LV")]
    benchmark = read(tmp_path, [*rows, result_row("pix2rep", 1, 0, "a", 0.3, class_name="RV")])
    assert patient_scores(benchmark, "dice", "LV")["pix2rep", 1].num_patients == 0


def test_test_patients_without_any_row_are_missing(tmp_path):
    benchmark = read(tmp_path, rows_of("scratch", 1, 0, {"a": 0.5}), test_patients=["a", "b"])
    assert benchmark.patients == ["a", "b"]
    assert benchmark.incomplete_patients == {CellKey("scratch", 1, 0): ["b"]}


def test_missing_cells_are_named_with_their_status(tmp_path):
    rows = rows_of("scratch", 1, 0, {"a": 0.5})
    runs = [{"method": "pix2rep", "shots": 1, "seed": 0, "status": "failed", "run_folder": "cells/x"}]
    benchmark = read(tmp_path, rows, methods=["scratch", "pix2rep"], subsets=[(1, 0), (1, 1)], runs=runs)
    found = completeness(benchmark)
    assert (found["planned_cells"], found["finished_cells"]) == (4, 1)
    assert [(entry["method"], entry["seed"], entry["status"]) for entry in found["missing"]] == [
        ("scratch", 1, "not run yet"),
        ("pix2rep", 0, "failed"),
        ("pix2rep", 1, "not run yet"),
    ]
    assert missing_draws(benchmark) == {("scratch", 1): [1], ("pix2rep", 1): [0, 1]}


def test_a_matrix_that_is_no_rectangle_can_list_its_cells(tmp_path):
    rows = rows_of("scratch", 1, 0, {"a": 0.5})
    cells = [{"method": "scratch", "shots": 1, "seed": 0}, {"method": "x", "shots": 5, "seed": 0, "impossible": "no"}]
    benchmark = read(tmp_path, rows, methods=["scratch", "scratch_long"], subsets=[(1, 0), (5, 0)], cells=cells)
    (missing,) = completeness(benchmark)["missing"]
    assert (missing["method"], missing["status"]) == ("x", "impossible: no")


def test_every_finished_cell_leads_to_its_folder_commands_and_patients(tmp_path):
    folder = tmp_path / run_folder_of("scratch", 2, 1)
    folder.mkdir(parents=True)
    (folder / "commands.txt").write_text("nnUNetv2_train 1 2d 0\n\nnnUNetv2_predict -i x -o y\n", encoding="utf-8")
    pretraining = tmp_path / "pretraining" / "one"
    pretraining.mkdir(parents=True)
    (pretraining / "commands.txt").write_text("nnUNetv2_train 1 2d 0 -tr P\n", encoding="utf-8")
    cells = [{"method": "scratch", "shots": 2, "seed": 1, "pretraining_folder": "pretraining/one"}]
    runs = [
        {
            "method": "scratch",
            "shots": 2,
            "seed": 1,
            "status": "finished",
            "seconds_training": 12.5,
            "run_folder": run_folder_of("scratch", 2, 1),
        }
    ]
    (record,) = cell_records(read(tmp_path, rows_of("scratch", 2, 1, {"a": 0.5, "b": 0.7}), runs=runs, cells=cells))
    assert record["run_folder"] == run_folder_of("scratch", 2, 1)
    assert record["dice"] == pytest.approx(0.6)
    assert record["dice_per_patient"] == {"a": 0.5, "b": 0.7}
    assert record["labelled_patients"] == ["train0_1", "train1_1"]
    assert record["pretraining_folder"] == "pretraining/one"
    assert record["commands"] == ["nnUNetv2_train 1 2d 0 -tr P", "nnUNetv2_train 1 2d 0", "nnUNetv2_predict -i x -o y"]
    assert (record["seconds_training"], record["seconds_pretraining"]) == (12.5, None)


def test_all_is_the_number_of_labeled_patients(tmp_path):
    write_benchmark(tmp_path, rows_of("scratch", 2, 0, {"a": 0.5}))
    description = read_json(tmp_path / "benchmark.json")
    description["splits"] = {"all_0": {"train_patients": ["x", "y"], "train_cases": []}}
    write_json(description, tmp_path / "benchmark.json")
    assert read_benchmark(tmp_path).subsets == {(2, 0): ["x", "y"]}


def test_names_that_look_like_numbers_or_missing_values_stay_names(tmp_path):
    benchmark = read(tmp_path, rows_of("scratch", 1, 0, {"007": 0.5, "NA": 0.6, "nan": 0.7}))
    assert benchmark.patients == ["007", "NA", "nan"]


def test_methods_and_classes_keep_the_order_of_the_benchmark(tmp_path):
    rows = [result_row(m, 1, 0, "a", 0.5, class_name=c) for m in ("a_method", "scratch") for c in ("RV", "LV")]
    benchmark = read(tmp_path, rows, methods=["scratch", "a_method"], labels={"1": "LV", "2": "RV"})
    assert benchmark.methods == ["scratch", "a_method"]
    assert benchmark.classes == ["LV", "RV"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dice": 1.2}, r"results\.csv, column dice.*0 to 1"),
        ({"dice": "good"}, r"results\.csv, column dice.*good"),
        ({"hd95": -1}, r"results\.csv, column hd95"),
        ({"shots": 1.5}, r"results\.csv, column shots.*whole"),
        ({"seed": ""}, r"results\.csv, column seed.*whole"),
        ({}, r"two rows of scratch, 1, 0, a_ED, LV"),
        ({"class": "RV", "patient": "b"}, r"a_ED.* more than one patient"),
        ({"class": "RV", "run_folder": "elsewhere"}, r"more than one run_folder"),
    ],
)
def test_malformed_rows_are_refused(tmp_path, change, message):
    row = result_row("scratch", 1, 0, "a", 0.5)
    write_benchmark(tmp_path, [row, row | change], subsets=[(1, 0)], test_patients=["a"])
    with pytest.raises(UserError, match=message):
        read_benchmark(tmp_path)


def test_a_test_patient_who_was_labeled_is_refused(tmp_path):
    write_benchmark(tmp_path, rows_of("scratch", 2, 0, {"train1": 0.5, "b": 0.5}))
    with pytest.raises(UserError, match=r"train1 are among the labeled patients of shots 2, draw 0"):
        read_benchmark(tmp_path)


def test_a_folder_without_results_says_so(tmp_path):
    with pytest.raises(UserError, match=r"benchmark\.json does not exist"):
        read_benchmark(tmp_path)
    write_benchmark(tmp_path, rows_of("scratch", 1, 0, {"a": 0.5}))
    (tmp_path / "results.csv").write_text(",".join(RESULT_COLUMNS) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match="no cell of this benchmark has finished"):
        read_benchmark(tmp_path)
    (tmp_path / "results.csv").write_text("method,shots\nscratch,1\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"must have the columns method, shots, selector"):
        read_benchmark(tmp_path)
    (tmp_path / "results.csv").unlink()
    with pytest.raises(UserError, match="no cell of this benchmark has finished"):
        read_benchmark(tmp_path)


def test_another_format_or_missing_keys_are_refused(tmp_path):
    write_benchmark(tmp_path, rows_of("scratch", 1, 0, {"a": 0.5}), format_version=99)
    with pytest.raises(UserError, match="format 1"):
        read_benchmark(tmp_path)
    write_json({"format_version": 1, "dataset": "x", "methods": []}, tmp_path / "benchmark.json")
    with pytest.raises(UserError, match="no test_patients, splits"):
        read_benchmark(tmp_path)


def test_tables_from_before_there_were_selectors_are_read_to_the_same_results(tmp_path):
    benchmark = read(tmp_path, rows_of("scratch", 1, 0, {"a": 0.5, "b": 0.7}))
    file = tmp_path / "results.csv"
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    table.drop(columns=["selector", "budget"]).to_csv(file, index=False)
    older = read_benchmark(tmp_path)
    assert older.results.equals(benchmark.results)
    assert older.effort == "patients"


def test_the_published_benchmarks_can_still_be_read():
    folders = [file.parent for file in sorted(PUBLISHED.glob("*/results.csv"))]
    assert folders
    for folder in folders:
        assert {"selector", "budget"} & set(read_table(folder / "results.csv", RESULT_COLUMNS).columns) == set()


def test_where_slices_are_counted_a_selector_belongs_to_the_method(tmp_path):
    rows = [row | {"shots": "", "budget": 6, "selector": "random"} for row in rows_of("scratch", 1, 0, {"a": 0.5})]
    benchmark = read(tmp_path, rows, subsets=[], effort="slices")
    assert list(benchmark.finished) == [CellKey("scratch + random", 6, 0)]
