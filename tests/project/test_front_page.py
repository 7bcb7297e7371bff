"""The front page shows what the benchmarks and the program say."""

import importlib
import re
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "explanation" / "pictures"
SCRIPTS = ROOT / "docs" / "scripts"
REPORT_ROW = re.compile(r"^\| (\w+) \| (\d\.\d{3}) \(.*$", re.MULTILINE)
DECIMALS = re.compile(r"(?<!Python )\b\d\.\d{2,}\b")


@pytest.fixture
def script(monkeypatch):
    """Imports a script of docs/scripts, which imports its neighbors as a script does."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    return importlib.import_module


def test_the_written_parts_of_every_page_are_what_the_script_writes_now(script):
    front_page = script("front_page")
    shown, written = set(), "run python docs/scripts/front_page.py"
    for page in front_page.PAGES:
        text = page.read_text(encoding="utf-8")
        assert front_page.MARKED.search(text), page
        assert front_page.with_written_parts(text) == text, written
        shown |= {name for _, name, _ in front_page.MARKED.findall(text)}
    assert shown == set(front_page.PARTS)


def test_the_picture_of_the_results_shows_what_the_tables_say(script):
    values = script("plot_results").describe_results()
    with Image.open(PICTURES / "results.png") as picture:
        assert picture.text["Description"] == values, "run python docs/scripts/plot_results.py"
    assert values in (PICTURES / "results.svg").read_text(encoding="utf-8")


def test_the_picture_of_the_method_finds_what_it_draws_with(script):
    assert script("plot_method").RANGES.rotation


def test_a_figure_that_drifts_is_written_anew(script):
    front_page = script("front_page")
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    drifted = DECIMALS.sub("0.99", page)
    assert drifted != page
    assert front_page.with_written_parts(drifted) == page


def test_no_result_stands_on_the_front_page_outside_the_written_parts(script):
    page = script("front_page").MARKED.sub("", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert DECIMALS.findall(page) == []


@pytest.mark.parametrize("folder", ["sunnybrook_4.5mm", "sunnybrook_4.5mm_30000"])
def test_means_are_those_of_the_benchmarks_own_report(script, folder):
    shown = script("results_shown")
    report = (ROOT / "docs" / "benchmarks" / folder / "report.md").read_text(encoding="utf-8")
    (dice,) = re.findall(r"^Mean Dice .*?\n\n(.*?)\n\n", report, re.MULTILINE | re.DOTALL)
    rows = dict(REPORT_ROW.findall(dice))
    assert {shown.PIX2REP} <= rows.keys()
    for method in rows.keys() & {shown.STOCK, shown.SCHEDULE, shown.PIX2REP}:
        assert shown.mean_dice(folder, method, shown.Setting(shots=1)) == pytest.approx(float(rows[method]), abs=5e-4)


def test_a_comparison_uses_the_draws_that_both_methods_have(script, monkeypatch):
    shown = script("results_shown")
    tables = {
        "first": pd.DataFrame({"a": [0.5, 0.7, 0.9]}, index=[0, 1, 2]),
        "second": pd.DataFrame({"a": [0.4, 0.4]}, index=[0, 1]),
    }
    monkeypatch.setattr(shown, "scores", lambda _folder, method, _setting: tables[method])
    assert shown.mean_dice("any", "first", shown.Setting(1)) == pytest.approx(0.7)
    assert shown.mean_dice("any", "first", shown.Setting(1), beside=("second",)) == pytest.approx(0.6)
    assert shown.gain("any", "first", "second", shown.Setting(1)) == pytest.approx(0.2)


def test_of_two_pretrainings_the_mean_is_shown_where_both_were_run(script, monkeypatch):
    shown = script("results_shown")
    runs = [("first", 0, 0.5), ("second", 0, 0.7), ("first", 1, 0.4), ("other", 0, 0.1), ("other", 1, 0.1)]
    rows = pd.DataFrame(runs, columns=["method", "draw", "dice"]).assign(patient="a", shots=1)
    monkeypatch.setattr(shown, "table", lambda _folder: rows)
    monkeypatch.setitem(shown.NAMES, "made up", {shown.PIX2REP: ["first", "second"]})
    dice = shown.scores("made up", shown.PIX2REP, shown.Setting(1))
    assert dice["a"].tolist() == pytest.approx([0.6, 0.4])


def test_what_was_not_run_is_an_error_and_said_in_the_table(script):
    shown, words = script("results_shown"), script("results_in_words")
    setting = shown.Setting(shots=1)
    with pytest.raises(shown.NotRunError, match="scratch"):
        shown.scores(shown.ACDC, shown.STOCK, setting)
    assert words.dice_text(shown.ACDC, shown.STOCK, setting) == "not run"
    with pytest.raises(shown.NotRunError, match="1000 steps"):
        shown.with_steps(shown.SLICES, shown.SCHEDULE, 1000, shown.RANDOM)


def test_a_damaged_table_is_not_taken_for_one_without_runs(script, monkeypatch):
    shown, words = script("results_shown"), script("results_in_words")
    without_dice = shown.table(shown.ACDC).drop(columns="dice")
    monkeypatch.setattr(shown, "table", lambda _folder: without_dice)
    monkeypatch.setattr(shown, "scores", shown.scores.__wrapped__)
    with pytest.raises(KeyError, match="dice"):
        words.dice_text(shown.ACDC, shown.SCHEDULE, shown.Setting(selector=shown.SPREAD))


@pytest.mark.parametrize("name", ["SUNNYBROOK", "ACDC"])
def test_full_annotation_is_what_the_benchmarks_own_report_measures_by(script, name):
    shown = script("results_shown")
    folder = getattr(shown, name)
    report = (ROOT / "docs" / "benchmarks" / folder / "report.md").read_text(encoding="utf-8")
    number, dice = re.search(r"Full annotation, .*? is (\d+) .*? the highest Dice, (\d\.\d{3}) ", report).groups()
    assert int(number) == shown.ALL_OF[folder]
    assert shown.full_annotation(folder) == pytest.approx(float(dice), abs=5e-4)


def test_the_front_page_is_short_and_its_table_of_results_shorter():
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(page.splitlines()) <= 160
    table = script_table(page)
    assert len(table) - 2 <= 5
    assert not any("(" in cell for line in table for cell in line.split("|"))


def script_table(page):
    """The lines of the results table."""
    lines = page.partition("front_page.py: table -->")[2].partition("<!-- end -->")[0].splitlines()
    return [line for line in lines if line.startswith("|")]
