"""Properties that every selector has."""

import itertools
from collections import Counter
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from slice_pools import make_pool, seeded

from nnunet_pix2rep.annotation.selectors import FEATURE_SELECTORS, SELECTORS
from nnunet_pix2rep.errors import UserError

BY_PATIENT = (*FEATURE_SELECTORS, "middle", "one_per_patient")
NESTED = ("random", "random_patients", "middle", "one_per_patient", "coverage")


@pytest.fixture(params=SELECTORS)
def select(request):
    return SELECTORS[request.param]


@pytest.mark.parametrize("name", SELECTORS)
@settings(max_examples=15)
@given(budget=st.integers(1, 12), annotated=st.sets(st.integers(0, 19), max_size=8), seed=st.integers(0, 99))
def test_as_many_slices_as_asked_for_all_different_and_none_annotated(name, budget, annotated, seed):
    pool = make_pool(patients=5, slices=4, annotated=annotated)
    chosen = SELECTORS[name](pool, budget, seeded(seed))
    assert len(chosen) == len(set(chosen)) == budget
    assert not set(chosen) & annotated
    assert all(isinstance(index, int) and 0 <= index < 20 for index in chosen)


def test_a_seed_gives_one_choice(select):
    pool = make_pool(annotated=(3, 17))
    assert select(pool, 10, seeded(4)) == select(pool, 10, seeded(4))


def test_seeds_give_different_choices():
    pool = make_pool()
    for name in ("random", "random_patients", "fixed_interval", "middle", "one_per_patient"):
        assert len({tuple(SELECTORS[name](pool, 5, seeded(seed))) for seed in range(6)}) > 1, name


def test_the_whole_pool_can_be_chosen(select):
    pool = make_pool(patients=3, slices=3, annotated=(4,))
    assert sorted(select(pool, 8, seeded())) == [0, 1, 2, 3, 5, 6, 7, 8]


@pytest.mark.parametrize("budget", [0, 9])
def test_a_budget_that_is_not_there_is_refused(select, budget):
    with pytest.raises(UserError, match="from 1 to 8"):
        select(make_pool(patients=3, slices=3, annotated=(4,)), budget, seeded())


def test_a_pool_of_which_all_is_annotated_is_refused(select):
    with pytest.raises(UserError, match="annotated already"):
        select(make_pool(patients=2, slices=2, annotated=range(4)), 1, seeded())


@pytest.mark.parametrize("name", NESTED)
def test_a_smaller_budget_is_the_beginning_of_a_larger_one(name):
    pool = make_pool(annotated=(0, 20))
    assert SELECTORS[name](pool, 12, seeded())[:5] == SELECTORS[name](pool, 5, seeded())


@pytest.mark.parametrize("name", BY_PATIENT)
def test_every_patient_has_a_slice_before_one_has_two(name):
    pool = make_pool(patients=6, slices=5)
    assert max(Counter(pool.patients[index] for index in SELECTORS[name](pool, 6, seeded())).values()) == 1
    partly = make_pool(patients=6, slices=5, annotated=(0, 1, 7))
    chosen = SELECTORS[name](partly, 4, seeded())
    assert {partly.patients[index] for index in chosen} == {f"patient_{number:02d}" for number in range(2, 6)}


def test_whole_scans_of_random_patients_are_used_up_one_by_one():
    pool = make_pool(patients=6, slices=5)
    chosen = SELECTORS["random_patients"](pool, 12, seeded())
    assert sorted(Counter(pool.patients[index] for index in chosen).values()) == [2, 5, 5]


def test_a_fixed_interval_is_one():
    pool = make_pool(patients=1, slices=24)
    chosen = sorted(SELECTORS["fixed_interval"](pool, 6, seeded()))
    assert {later - earlier for earlier, later in itertools.pairwise(chosen)} == {4}


def test_the_middle_is_the_middle():
    pool = make_pool(patients=4, slices=7)
    assert sorted(SELECTORS["middle"](pool, 4, seeded())) == [3, 10, 17, 24]


@pytest.mark.parametrize("seed", range(5))
def test_one_per_patient_spreads_positions(seed):
    pool = make_pool(patients=10, slices=20)
    positions = pool.positions[SELECTORS["one_per_patient"](pool, 10, seeded(seed))].sort().values
    assert float(positions.diff().max()) < 0.25
    assert float(positions[0]) < 0.2
    assert float(positions[-1]) > 0.8


def phases(pool):
    """The pool with its slices, by turns, in two scans of each patient whose positions are the same."""
    first = [index % 2 == 0 for index in range(len(pool))]
    cases = [f"{patient}_{'ED' if one else 'ES'}" for patient, one in zip(pool.patients, first, strict=True)]
    return replace(pool, cases=tuple(cases), positions=pool.positions - 0.1 * (~torch.tensor(first)))


@pytest.mark.parametrize("name", ["one_per_patient", "middle"])
def test_no_phase_of_a_heart_is_preferred_and_each_has_its_turn(name):
    pool = phases(make_pool(patients=30, slices=10))
    chosen = SELECTORS[name](pool, 60, seeded())
    first = [pool.cases[index].endswith("ED") for index in chosen[:30]]
    assert 8 <= sum(first) <= 22
    assert len({pool.cases[index] for index in chosen}) == 60


def test_a_second_round_begins_with_the_phase_that_has_no_annotation():
    pool = phases(make_pool(patients=6, slices=10, annotated=range(0, 60, 10)))  # a slice of ED of each patient
    chosen = SELECTORS["one_per_patient"](pool, 6, seeded())
    assert all(pool.cases[index].endswith("ES") for index in chosen)


def test_slices_in_files_of_their_own_keep_their_spread_positions():
    pool = make_pool(patients=10, slices=20)
    pool = replace(pool, cases=tuple(f"image_{index}" for index in range(len(pool))))
    positions = pool.positions[SELECTORS["one_per_patient"](pool, 10, seeded())].sort().values
    assert float(positions.diff().max()) < 0.25


def test_features_of_another_number_of_slices_are_refused():
    pool = make_pool()
    with pytest.raises(ValueError, match="positions"):
        replace(pool, positions=torch.zeros(3))
    with pytest.raises(ValueError, match="N, P"):
        replace(pool, weights=torch.ones(len(pool), 2))
