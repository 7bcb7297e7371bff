import numpy as np
import pytest
from synthetic import rows_of, write_benchmark

from nnunet_pix2rep.benchmark.report.numbers.aggregation import Scores
from nnunet_pix2rep.benchmark.report.numbers.analysis import ReportSettings, analyze
from nnunet_pix2rep.benchmark.report.numbers.full_annotation import share_data, share_distribution
from nnunet_pix2rep.benchmark.report.reading.results import read_benchmark

SETTINGS = ReportSettings(num_resamples=500)
PATIENTS = "abcdef"
EASY_TO_HARD = dict(zip(PATIENTS, (1.0, 0.9, 0.8, 0.7, 0.6, 0.5), strict=True))


def times(factor):
    return {patient: factor * dice for patient, dice in EASY_TO_HARD.items()}


def shares_of(folder, rows, **description):
    analysis = analyze(read_benchmark(write_benchmark(folder, rows, **description)), SETTINGS)
    return {(row["method"], row["shots"]): row for row in analysis["full_annotation"]}


def rows_by_hand():
    """scratch has 0.9 of everybody's Dice with all 8 patients, pix2rep all of it; with one patient half and 0.8."""
    parts = {("scratch", 1): 0.5, ("scratch", 8): 0.9, ("pix2rep", 1): 0.8, ("pix2rep", 8): 1.0}
    return [row for (method, shots), part in parts.items() for row in rows_of(method, shots, 0, times(part))]


def test_all_are_measured_by_the_best_method_with_everybody_labeled(tmp_path):
    shares = shares_of(tmp_path, rows_by_hand(), num_training_patients=8)
    assert shares.keys() == {("scratch", 1), ("pix2rep", 1)}
    for method, share in (("scratch", 0.5), ("pix2rep", 0.8)):
        row = shares[method, 1]
        assert (row["full_method"], row["full_shots"]) == ("pix2rep", 8)
        # the same part of every patient's Dice: whoever is drawn, the share stays
        assert [row["share"], row["low"], row["high"]] == pytest.approx([share] * 3)
        assert (row["dice"], row["full_dice"]) == pytest.approx((0.75 * share, 0.75))


def test_the_interval_is_of_the_ratio_and_covers_the_draws(tmp_path):
    rows = [*rows_of("scratch", 1, 0, times(0.6)), *rows_of("scratch", 1, 1, times(0.8)), *rows_by_hand()[6:12]]
    row = shares_of(tmp_path, rows, num_training_patients=8)["scratch", 1]
    # the draws are the only chance: two of the first, one of each, two of the second
    assert row["share"] == pytest.approx(0.7 / 0.9)
    assert (row["low"], row["high"]) == pytest.approx((0.6 / 0.9, 0.8 / 0.9))
    assert row["interval_covers"] == "patients and draws"


@pytest.mark.parametrize("description", [{}, {"num_training_patients": 9}])
def test_without_full_annotation_there_is_no_share(tmp_path, description):
    assert shares_of(tmp_path, rows_by_hand(), **description) == {}


def test_the_best_is_one_of_those_with_the_most_test_patients(tmp_path):
    easy = {"a": 0.95, "b": 0.95}  # a higher mean, of two patients
    rows = [row for row in rows_by_hand() if row["shots"] == 1]
    rows += [*rows_of("scratch", 8, 0, times(0.9)), *rows_of("pix2rep", 8, 0, easy)]
    assert shares_of(tmp_path, rows, num_training_patients=8)["scratch", 1]["full_method"] == "scratch"


def test_shares_are_over_patients_that_both_have_and_nothing_is_no_whole():
    part, full = Scores((0,), np.array([[0.4, np.nan, 0.3]])), Scores((0,), np.array([[0.8, 0.9, np.nan]]))
    (data,) = share_data({("a", 1): part, ("b", 8): full}, ("b", 8)).values()
    assert (data.scores.mean, data.full.mean) == pytest.approx((0.4, 0.8))
    nothing = Scores((0,), np.zeros((1, 3)))
    assert share_data({("a", 1): part, ("b", 8): nothing}, ("b", 8)) == {}
    assert share_distribution(np.array([0.3, 0.3]), np.array([0.6, 0.0])) == pytest.approx([0.5, np.nan], nan_ok=True)
