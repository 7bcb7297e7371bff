import itertools

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from synthetic import PATIENTS, rows_of, some_rows, write_benchmark

from nnunet_pix2rep.benchmark.report.numbers.analysis import ReportSettings, analyze
from nnunet_pix2rep.benchmark.report.pages.figures import patient_pairs, plot_curves, plot_paired, styles_of
from nnunet_pix2rep.benchmark.report.pages.panel_patients import choose_patients
from nnunet_pix2rep.benchmark.report.reading.results import read_benchmark

SETTINGS = ReportSettings(num_resamples=20)


def analysis_of(folder, rows, **keywords):
    return analyze(read_benchmark(write_benchmark(folder, rows, **keywords)), SETTINGS)


def test_every_method_looks_different_and_the_reference_is_black():
    methods = ["scratch", *(f"method{number}" for number in range(11))]
    styles = styles_of(methods, "scratch")
    assert list(styles) == methods
    assert len({(style.color, style.line) for style in styles.values()}) == len(methods)
    assert styles["scratch"].color == "#000000"


def test_the_curves_show_the_means_and_intervals(tmp_path):
    analysis = analysis_of(tmp_path, some_rows(), methods=["scratch", "pix2rep", "missing"])
    (axis,) = plot_curves(analysis).axes
    curves = {line.get_label(): line.get_ydata() for line in axis.lines if not line.get_label().startswith("_")}
    for method in ("scratch", "pix2rep"):
        means = [row["mean"] for row in analysis["dice"] if row["method"] == method]
        assert curves[method] == pytest.approx(means)
    assert len(axis.lines) == 2 + 4  # and an interval for each of the four means
    assert axis.get_xscale() == "log"


def test_the_pairs_are_means_over_the_common_draws(tmp_path):
    rows = [*rows_of("scratch", 1, 0, {"p1": 0.2, "p2": 0.4}), *rows_of("scratch", 1, 1, {"p1": 0.4, "p2": ""})]
    rows += [*rows_of("pix2rep", 1, 0, {"p1": 0.5, "p2": 0.6}), *rows_of("pix2rep", 1, 1, {"p1": 0.7, "p2": 0.9})]
    analysis = analysis_of(tmp_path, rows)
    pairs = patient_pairs(analysis, analysis["comparisons"][0])
    assert pairs == pytest.approx(np.array([[0.3, 0.6], [0.4, 0.6]]))
    assert np.diff(pairs.mean(axis=0)) == pytest.approx(analysis["comparisons"][0]["difference"])
    assert plot_paired(analysis) is not None


def test_no_two_long_names_below_the_pairs_overlap(tmp_path):
    methods = ["scratch_same_schedule", *(f"weights:a/long/folder/with_seed_{seed}.pth" for seed in range(3))]
    arms = [f"{method} + one_per_patient" for method in methods]
    benchmark = read_benchmark(write_benchmark(tmp_path, some_rows(methods=arms), methods=arms))
    figure = plot_paired(analyze(benchmark, ReportSettings(reference=arms[0], num_resamples=20)))
    FigureCanvasAgg(figure).draw()
    boxes = [name.get_window_extent() for axis in figure.axes for name in axis.get_xticklabels()]
    assert len(boxes) == 6
    assert not any(first.overlaps(second) for first, second in itertools.combinations(boxes, 2))


def test_best_median_and_worst_are_chosen_by_the_mean_of_all_methods(tmp_path):
    rows = rows_of("scratch", 1, 0, {"p1": 0.9, "p2": 0.4, "p3": 0.1, "p4": ""})
    rows += rows_of("pix2rep", 1, 0, {"p1": 0.1, "p2": 0.7, "p3": 0.2, "p4": 0.9})
    rows += rows_of("scratch", 2, 0, dict.fromkeys(PATIENTS, 0.5)) + rows_of("other", 1, 1, {"p1": 0.3})
    choice = choose_patients(read_benchmark(write_benchmark(tmp_path, rows)), "scratch")
    assert choice.patients == {"best": "p2", "median": "p1", "worst": "p3"}
    assert [tuple(cell) for cell in choice.cells] == [("scratch", 1, 0), ("pix2rep", 1, 0)]
    assert choice.dice["pix2rep", "p2_ED"] == 0.7


def test_no_patient_is_shown_twice(tmp_path):
    rows = rows_of("scratch", 1, 0, {"p1": 0.9, "p2": 0.4})
    choice = choose_patients(read_benchmark(write_benchmark(tmp_path, rows)), "scratch")
    assert choice.patients == {"best": "p1", "worst": "p2"}
