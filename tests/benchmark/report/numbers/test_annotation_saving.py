import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_pix2rep.benchmark.report.numbers.aggregation import Scores
from nnunet_pix2rep.benchmark.report.numbers.annotation_saving import (
    BELOW,
    NEVER,
    bounded,
    patients_needed,
    saving_data,
)

NUMBERS = (1, 2, 4, 16)
CURVE = (0.2, 0.4, 0.5, 0.8)
NAN = np.nan


@pytest.mark.parametrize(
    ("target", "needed"),
    [
        (0.2, 1),
        (0.3, 2**0.5),  # half of the first doubling
        (0.4, 2),
        (0.45, 2 * 2**0.5),
        (0.6, 4 * 4 ** (1 / 3)),  # a third of the way from 4 to 16, which is two doublings
        (0.8, 16),
        (0.81, NEVER),
        (0.19, BELOW),
    ],
)
def test_interpolation_by_hand(target, needed):
    assert patients_needed(NUMBERS, CURVE, target) == pytest.approx(needed)


def test_a_curve_that_dips_counts_where_it_first_gets_there():
    dipping = (0.2, 0.5, 0.4, 0.8)
    assert patients_needed(NUMBERS, dipping, 0.35) == pytest.approx(2**0.5)
    assert patients_needed(NUMBERS, dipping, 0.45) == pytest.approx(2 ** (0.25 / 0.3))
    assert patients_needed(NUMBERS, dipping, 0.6) == pytest.approx(4 * 4 ** (0.2 / 0.4))


def test_a_falling_or_flat_curve_never_gets_higher():
    assert patients_needed((1, 2), (0.5, 0.4), 0.5) == 1
    assert patients_needed((1, 2), (0.5, 0.4), 0.51) == NEVER
    assert patients_needed((1, 2, 4), (0.5, 0.5, 0.6), 0.5) == 1
    assert patients_needed((1,), (0.5,), 0.6) == NEVER


def test_many_resamples_at_once_equal_one_by_one():
    generator = np.random.default_rng(0)
    curves, targets = generator.random((4, 50)), generator.random(50)
    together = patients_needed(NUMBERS, curves, targets)
    assert together.shape == (50,)
    one_by_one = [float(patients_needed(NUMBERS, curves[:, place], targets[place])) for place in range(50)]
    assert together == pytest.approx(one_by_one)


def test_what_is_undefined_stays_so():
    assert np.isnan(patients_needed(NUMBERS, (0.2, NAN, 0.5, 0.8), 0.3))
    assert np.isnan(patients_needed(NUMBERS, CURVE, NAN))


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4), st.floats(0, 1), st.floats(0, 1))
def test_a_better_score_never_needs_fewer_patients(curve, first, second):
    low, high = sorted((first, second))
    assert patients_needed(NUMBERS, curve, low) <= patients_needed(NUMBERS, curve, high) * (1 + 1e-9)


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4, unique=True), st.integers(0, 3))
def test_the_reference_needs_as_many_patients_as_it_has(curve, place):
    rising = sorted(curve)
    assert patients_needed(NUMBERS, rising, rising[place]) == pytest.approx(NUMBERS[place])


def test_bounds_are_those_of_the_curve():
    assert bounded(6.0, NUMBERS, 2) == ("=", 3.0)
    assert bounded(NEVER, NUMBERS, 2) == (">", 8.0)
    assert bounded(BELOW, NUMBERS, 2) == ("<", 0.5)


def scores(rows):
    return Scores(tuple(rows), np.array(list(rows.values()), dtype=float))


def test_the_reference_is_restricted_to_the_draws_of_an_unfinished_method():
    tables = {
        ("scratch", 1): scores({0: [0.1, 0.1], 1: [0.5, 0.5]}),
        ("scratch", 2): scores({1: [0.7, 0.7]}),
        ("scratch", 4): scores({0: [0.9, 0.9]}),
        ("pix2rep", 1): scores({0: [0.3, 0.3]}),
    }
    unfinished = saving_data(tables, "scratch", ("pix2rep", 1), {("pix2rep", 1): [1]})
    assert unfinished.numbers == (1, 4)
    assert [table.mean for table in unfinished.curve] == pytest.approx([0.1, 0.9])
    assert unfinished.provisional
    finished = saving_data(tables, "scratch", ("pix2rep", 1), {})
    assert finished.numbers == (1, 2, 4)
    assert not finished.provisional
    assert saving_data(tables, "scratch", ("pix2rep", 1), {("scratch", 4): [1]}).provisional


def test_only_patients_that_all_cells_have_take_part():
    tables = {("scratch", 1): scores({0: [0.1, NAN, 0.3]}), ("pix2rep", 1): scores({0: [0.5, 0.9, NAN]})}
    data = saving_data(tables, "scratch", ("pix2rep", 1), {})
    assert (data.target.mean, data.curve[0].mean) == (0.5, 0.1)
    assert data.target.num_patients == 1


def test_without_common_patients_or_draws_there_is_no_factor():
    tables = {("scratch", 1): scores({0: [0.1, NAN]}), ("pix2rep", 1): scores({0: [NAN, 0.5]})}
    assert saving_data(tables, "scratch", ("pix2rep", 1), {}) is None
    tables = {("scratch", 1): scores({0: [0.1]}), ("pix2rep", 1): scores({1: [0.5]})}
    assert saving_data(tables, "scratch", ("pix2rep", 1), {("pix2rep", 1): [0]}) is None
    assert saving_data({("pix2rep", 1): scores({1: [0.5]})}, "scratch", ("pix2rep", 1), {}) is None
