"""The differences that the diary names can be had again from the published tables."""

import importlib
import re
import sys
from pathlib import Path

import pandas as pd
import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = ROOT / "docs" / "scripts"
EXPERIMENT_26 = [
    "acdc_3mm_slices_6000/results.csv",
    "method=weights:pix2rep_v2_6000_seed_0.pth",
    "method=weights:pix2rep_v2_6000_seed_1.pth",
]
RANDOM_WEIGHTS = ["acdc_3mm_slices_6000/results.csv", "method=scratch_same_schedule"]


@pytest.fixture
def script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))  # as for a script, which finds its neighbors
    return importlib.import_module("compare_results")


def runs(*rows):
    """A table of one setting; rows of method, draw, patient, case, class and Dice."""
    return pd.DataFrame(rows, columns=["method", "seed", "patient", "case", "class", "dice"])


def test_the_command_line_gives_what_the_diary_has(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare_results.py", "--first", *EXPERIMENT_26, "--against", *RANDOM_WEIGHTS])
    script.main()
    printed = capsys.readouterr().out
    diary = (ROOT / "docs" / "experiments" / "diary.md").read_text(encoding="utf-8")
    row = next(line for line in diary.splitlines() if line.startswith("| both seeds | |"))
    mean, gain, low, high, better = re.search(
        r"\| (\d\.\d+) \| \*\*(\S+) \((\S+) to (\S+)\)\*\*, (\d+) of 15", row
    ).groups()
    assert f"first    {mean} " in printed
    assert f"gain     {gain} ({low} to {high}, over patients and draws)" in printed
    assert f"better in {better} of 15 patients" in printed


def test_means_are_over_classes_then_cases_then_methods(script):
    rows = runs(
        ("a", 0, "p", "early", "RV", 0.2), ("a", 0, "p", "early", "LV", 0.4),
        ("a", 0, "p", "late", "RV", 0.9),
        ("b", 0, "p", "early", "RV", 0.8),
    )  # fmt: skip
    scores = script.scores_of(rows, ["p"])
    assert scores.values.tolist() == [[pytest.approx(((0.3 + 0.9) / 2 + 0.8) / 2)]]


def test_of_several_methods_only_the_draws_count_that_each_has(script):
    rows = runs(("a", 0, "p", "c", "LV", 0.2), ("a", 1, "p", "c", "LV", 0.3), ("b", 1, "p", "c", "LV", 0.5))
    scores = script.scores_of(rows, ["p"])
    assert (scores.draws, scores.mean) == ((1,), pytest.approx(0.4))


def test_only_draws_and_patients_that_both_have_are_compared(script):
    first = runs(("a", 0, "p", "c", "LV", 0.9), ("a", 1, "p", "c", "LV", 0.8), ("a", 1, "q", "d", "LV", 0.1))
    second = runs(("b", 1, "p", "c", "LV", 0.6), ("b", 2, "p", "c", "LV", 0.1))
    printed = script.comparison(first, second)
    assert "gain     +0.200\n" in printed
    assert "better in 1 of 1 draws" in printed
    with pytest.raises(SystemExit, match="no draw in common"):
        script.comparison(first, second.assign(seed=5))
    with pytest.raises(SystemExit, match="no test patient in common"):
        script.comparison(first, second.assign(patient="other"))


def test_two_files_are_read_as_one(script):
    folder = "sunnybrook_4.5mm_slices"
    words = [f"{folder}/results.csv", f"{folder}/second_pretraining.csv", "selector=one_per_patient", "budget=18"]
    pretrainings = ["method=weights:pix2rep_v2_7500.pth", "method=weights:pix2rep_v2_7500_seed_0.pth"]
    both = script.selected_rows([*words, *pretrainings])
    assert both.groupby("method").seed.nunique().tolist() == [5, 5]
    with pytest.raises(SystemExit, match="several values of method"):
        script.selected_rows(words)


@pytest.fixture
def table(script, monkeypatch, tmp_path):
    """Writes a table of one training of a case, with some values changed or None for columns that it lacks."""
    monkeypatch.setattr(script, "BENCHMARKS", tmp_path)

    def write(name, **changes):
        row = {"method": "a", "seed": 0, "patient": "p", "case": "c", "class": "LV", "dice": 0.5} | changes
        pd.DataFrame([row]).to_csv(tmp_path / name, index=False)
        return name

    return write


@pytest.mark.parametrize("column", ["iterations", "elastic_probability", "backbone_lr", "selector"])
def test_a_table_that_lacks_a_setting_is_not_mixed_with_one_that_has_it(script, table, column):
    files = [table("without.csv"), table("with.csv", seed=1, **{column: "400"})]
    message = f"several values of {column}: not given, 400. Add {column}=VALUE, or {column}= for those where"
    with pytest.raises(SystemExit, match=message):
        script.selected_rows(files)
    assert script.selected_rows([*files, f"{column}="]).seed.tolist() == [0]
    assert script.selected_rows([*files, f"{column}=400"]).seed.tolist() == [1]
    assert script.selected_rows([*files, f"{column}=", f"{column}=400"]).seed.tolist() == [0, 1]
    for file in files:
        assert len(script.selected_rows([file])) == 1


def test_the_two_sides_may_differ_in_what_their_tables_say(script, table):
    first, second = table("first.csv", dice=0.7), table("second.csv", iterations=400, selector="random")
    assert "gain     +0.200" in script.comparison(script.selected_rows([first]), script.selected_rows([second]))


def test_trainings_of_other_lengths_are_not_averaged(script):
    folder = "sunnybrook_4.5mm_slices"
    words = [f"{folder}/results.csv", f"{folder}/longer_fine_tuning.csv", "selector=one_per_patient", "budget=18"]
    with pytest.raises(SystemExit, match="several values of iterations: not given, 4000"):
        script.selected_rows([*words, "method=scratch", "seed=0"])


def test_a_row_counts_once(script, table):
    files = [table("first.csv", selector="random"), table("second.csv", selector="random", dice=0.7)]
    with pytest.raises(SystemExit, match="several rows of method a, seed 0, case c, class LV"):
        script.selected_rows(files)
    table("second.csv", selector="spread")
    with pytest.raises(SystemExit, match="one value of each setting"):
        script.selected_rows([*files, "selector=random", "selector=spread"])
    for change in ({"method": "b"}, {"seed": 1}, {"case": "d"}, {"class": "RV"}):
        table("second.csv", selector="random", **change)
        assert len(script.selected_rows([*files, "method=a", *(["method=b"] if "method" in change else [])])) == 2


def test_a_side_without_a_file_is_refused(script, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compare_results.py", "--first", "method=a", "--against", *RANDOM_WEIGHTS])
    with pytest.raises(SystemExit):
        script.main()
    assert "--first names no file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["missing.csv"], "no missing.csv"),
        (["demo/seeds.csv"], "no table of a benchmark: it has no column"),
        ([EXPERIMENT_26[0], "lenght=3"], "no column lenght. It has method"),
        ([EXPERIMENT_26[0], "method=pix2rep"], "no method=pix2rep here. It has scratch_same_schedule"),
        (["hippocampus_2d_slices/three_d.csv"], r"several values of steps: .* Add steps=VALUE\.$"),
        (["hippocampus_2d_slices/dice_2000_steps.csv"], "several values of shots: not given, "),
        ([EXPERIMENT_26[0], "seed=0"], r"several values of method: .* Add method=VALUE"),
    ],
)
def test_what_does_not_name_one_set_of_trainings_is_refused(script, words, message):
    with pytest.raises(SystemExit, match=message):
        script.selected_rows(words)
