import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnunet_pix2rep.benchmark.report.numbers.aggregation import Scores, paired
from nnunet_pix2rep.benchmark.report.numbers.statistics import (
    bootstrap_means,
    holm,
    interval_of,
    percentile_interval,
    signed_rank,
    smallest_p_value,
)

NAN = np.nan


def distribution_of(values, draws=None, num_resamples=4000, seed=0):
    values = np.asarray(values, dtype=float)
    scores = Scores(tuple(range(len(values))) if draws is None else draws, values)
    return bootstrap_means({"only": scores}, num_resamples, seed)["only"]


@pytest.mark.parametrize(
    ("differences", "statistic", "p_value"),
    [
        # all of one sign: 2 of the 2^6 assignments of signs are as extreme
        ([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], 0, 2 / 64),
        # only the smallest difference, rank 1, is negative: sums of 0 and 1 on either side, 4 of 2^5
        ([0.3, 0.2, 0.5, -0.1, 0.4], 1, 4 / 32),
        # ranks 1 to 4, the two middle ones negative: the sums are 5 and 5, as even as can be
        ([0.1, -0.2, -0.3, 0.4], 5, 1),
        # four ties of rank 2.5, one negative: none or one on either side, 2 x (1 + 4) of 2^4
        ([0.2, 0.2, -0.2, 0.2], 2.5, 10 / 16),
        # ties but for rounding errors: 0.3 - 0.1 is not 0.2 in binary
        ([0.3 - 0.1, 0.2, -0.2, 0.2], 2.5, 10 / 16),
    ],
)
def test_signed_rank_by_hand(differences, statistic, p_value):
    result = signed_rank(np.array(differences))
    assert result.statistic == statistic
    assert result.p_value == pytest.approx(p_value)


def test_patients_without_difference_or_value_do_not_change_the_p_value():
    plain = signed_rank(np.array([0.3, 0.2, 0.5, -0.1, 0.4]))
    more = signed_rank(np.array([0.3, 0.0, 0.2, NAN, 0.5, -0.1, 0.4]))
    assert more.p_value == plain.p_value
    assert (more.num_pairs, more.better, more.worse) == (6, 4, 1)


def test_equal_methods_are_not_different_and_nothing_cannot_be_tested():
    assert signed_rank(np.zeros(5)).p_value == 1
    assert signed_rank(np.full(5, NAN)) is None


@pytest.mark.parametrize("number", [1, 2, 6, 10])
def test_no_p_value_is_smaller_than_the_smallest(number):
    assert signed_rank(np.arange(1.0, number + 1)).p_value == pytest.approx(smallest_p_value(number))


def test_holm_by_hand():
    # ascending: 0.005 x 4, 0.01 x 3, 0.03 x 2, and 0.04 x 1, which may not be below the one before it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6]) == pytest.approx([1, 1])
    assert holm([]) == []


def test_two_patients_give_three_means():
    distribution = distribution_of([[0.0, 1.0]])
    values, numbers = np.unique(distribution, return_counts=True)
    assert values.tolist() == [0, 0.5, 1]
    assert numbers / len(distribution) == pytest.approx([0.25, 0.5, 0.25], abs=0.03)


def test_the_variance_of_the_mean_is_that_of_patients_and_of_draws():
    generator = np.random.default_rng(0)
    patients, draws = generator.normal(size=8), generator.normal(size=(4, 1))
    distribution = distribution_of(patients + draws, num_resamples=20_000)
    assert distribution.var() == pytest.approx(patients.var() / 8 + draws.var() / 4, rel=0.05)


def test_whole_draws_are_resampled_and_not_single_results():
    # two draws that agree on all patients: the mean is 0, 0.5 or 1, whatever patients are drawn
    assert set(distribution_of([[0.0] * 5, [1.0] * 5])) == {0, 0.5, 1}


def test_degenerate_data_has_an_interval_without_width():
    scores = Scores((0, 1, 2), np.full((3, 4), 0.7))
    interval = interval_of(scores, distribution_of(scores.values), 0.95)
    assert interval.low == pytest.approx(0.7)
    assert interval.high == pytest.approx(0.7)


def test_all_tables_see_the_same_resamples():
    generator = np.random.default_rng(1)
    first, second = (Scores((0, 1, 2), generator.random((3, 6))) for _ in range(2))
    means = bootstrap_means({1: first, 2: second, "difference": paired(first, second)}, 500, 0)
    assert means["difference"] == pytest.approx(means[1] - means[2])


def test_a_table_with_one_draw_sees_the_patients_of_the_others():
    values = np.random.default_rng(2).random((1, 6))
    means = bootstrap_means({1: Scores((0,), values), 2: Scores((0, 1), np.repeat(values, 2, axis=0))}, 500, 0)
    assert means[1] == pytest.approx(means[2])


def test_the_resamples_come_from_the_seed():
    values = np.random.default_rng(3).random((2, 5))
    assert np.array_equal(distribution_of(values, seed=7), distribution_of(values, seed=7))
    assert not np.array_equal(distribution_of(values, seed=7), distribution_of(values, seed=8))


def test_what_the_interval_covers_is_said():
    values = np.random.default_rng(4).random((2, 5))
    two, one = Scores((0, 1), values), Scores((0,), values[:1])
    assert interval_of(two, distribution_of(values), 0.95).covers == "patients and draws"
    assert interval_of(one, distribution_of(values[:1]), 0.95).covers == "patients"


def test_a_single_patient_has_no_interval():
    single = Scores((0, 1), np.array([[0.5], [0.6]]))
    assert interval_of(single, bootstrap_means({0: single}, 10, 0)[0], 0.95) is None
    only_one_defined = Scores((0,), np.array([[0.5, NAN, NAN]]))
    assert interval_of(only_one_defined, bootstrap_means({0: only_one_defined}, 10, 0)[0], 0.95) is None


def test_undefined_values_take_no_part():
    # the second patient is undefined in one draw: its mean is that of the other
    distribution = distribution_of([[0.2, NAN], [0.2, 0.8]])
    assert {round(value, 10) for value in distribution[~np.isnan(distribution)]} == {0.2, 0.5, 0.8}
    # both draws are the first one and both patients the second one: 1 of 16, nothing is left
    assert np.isnan(distribution).mean() == pytest.approx(1 / 16, abs=0.02)
    assert np.isfinite(percentile_interval(distribution, 0.95)).all()


def test_the_mean_of_unequal_patients_is_over_patients():
    scores = Scores((0, 1), np.array([[0.2, NAN], [0.4, 0.9]]))
    assert scores.mean == pytest.approx((0.3 + 0.9) / 2)
    assert scores.num_patients == 2


def test_infinite_ends_are_kept():
    assert percentile_interval(np.array([1.0] * 50 + [np.inf] * 50), 0.9) == (1, np.inf)
    assert percentile_interval(np.array([0.0, NAN, 1.0]), 0.9) == (0, 1)
    assert np.isnan(percentile_interval(np.array([NAN]), 0.9)).all()


@settings(max_examples=25)
@given(st.integers(2, 6), st.integers(1, 4), st.integers(0, 1000))
def test_the_interval_lies_within_the_data_and_grows_with_confidence(num_patients, num_draws, seed):
    values = np.random.default_rng(seed).random((num_draws, num_patients))
    distribution = distribution_of(values, num_resamples=200)
    narrow, wide = percentile_interval(distribution, 0.5), percentile_interval(distribution, 0.99)
    assert values.min() - 1e-12 <= wide[0] <= narrow[0] <= narrow[1] <= wide[1] <= values.max() + 1e-12


def test_intervals_cover_the_truth_about_as_often_as_they_say():
    """20 patients, 10 draws, true mean 0; resampling patients alone misses the draws' part."""
    generator = np.random.default_rng(5)
    crossed, patients_alone = [], []
    for trial in range(150):
        values = generator.normal(size=20) + 0.7 * generator.normal(size=(10, 1)) + generator.normal(size=(10, 20))
        for hits, table in ((crossed, values), (patients_alone, values.mean(axis=0, keepdims=True))):
            low, high = percentile_interval(distribution_of(table, num_resamples=400, seed=trial), 0.95)
            hits.append(low <= 0 <= high)
    assert 0.87 <= np.mean(crossed) <= 1
    assert np.mean(patients_alone) < np.mean(crossed)
