from collections import Counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from nnunetv2.utilities.crossval_split import generate_crossval_split

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.patients.few_shot_folds import cross_validation_splits, few_shot_splits
from nnunet_pix2rep.nnunet.patients.patients import Patient, check_patient_leak, patients_by_group


@st.composite
def datasets(draw):
    """Two to thirty patients with one to three cases each, in up to four groups."""
    groups = draw(st.lists(st.sampled_from([None, "A", "B", "C"]), min_size=2, max_size=30))
    patients = {}
    for number, group in enumerate(groups):
        for case in range(draw(st.integers(1, 3))):
            patients[f"case_{number}_{case}"] = Patient(f"patient_{number}", group)
    return patients


def dataset_of(**group_sizes):
    return {
        f"{group}{number:02d}_{frame}": Patient(f"{group}{number:02d}", group)
        for group, size in group_sizes.items()
        for number in range(size)
        for frame in ("ED", "ES")
    }


def names_of(patients):
    return {patient.name for patient in patients.values()}


@given(datasets(), st.data())
def test_properties_of_few_shot_folds(patients, data):
    num_patients = len(names_of(patients))
    validation = data.draw(st.integers(1, num_patients - 1))
    left = num_patients - validation
    shots = data.draw(st.lists(st.one_of(st.integers(1, left), st.just("all")), min_size=1, unique=True, max_size=4))
    seeds = data.draw(st.integers(1, 4))
    seed = data.draw(st.integers(0, 2**32 - 1))
    folds = few_shot_splits(patients, shots, seeds, validation, seed)

    assert check_patient_leak([fold.to_split() for fold in folds], patients) == []
    assert len({fold.validation_patients for fold in folds}) == 1
    assert len(folds[0].validation_patients) == validation
    assert [fold.fold for fold in folds] == list(range(len(folds)))
    for fold in folds:
        assert len(fold.train_patients) == (left if fold.shots == "all" else fold.shots)
        assert set(fold.train_cases) == {case for case in patients if patients[case].name in fold.train_patients}
        assert set(fold.validation_cases) == {
            case for case in patients if patients[case].name in fold.validation_patients
        }
        for larger in folds:
            if larger.seed == fold.seed and len(larger.train_patients) >= len(fold.train_patients):
                assert set(fold.train_patients) <= set(larger.train_patients)
    assert folds == few_shot_splits(dict(reversed(patients.items())), list(reversed(shots)), seeds, validation, seed)


@given(datasets(), st.integers(0, 1000))
def test_groups_take_turns(patients, seed):
    validation = 1
    left = len(names_of(patients)) - validation
    folds = few_shot_splits(patients, list(range(1, left + 1)), 2, validation, seed)
    held_out = set(folds[0].validation_patients)
    available = {group: len(set(names) - held_out) for group, names in patients_by_group(patients).items()}
    group_of = {name: group for group, names in patients_by_group(patients).items() for name in names}
    for fold in folds:
        drawn = Counter(group_of[name] for name in fold.train_patients)
        unfinished = [drawn[group] for group, size in available.items() if drawn[group] < size]
        # A group with patients left is never behind another group by more than one.
        assert not unfinished or max(drawn.values()) - min(unfinished) <= 1


@given(datasets(), st.floats(0.05, 0.95), st.integers(0, 1000))
def test_validation_is_drawn_from_every_group_in_proportion(patients, fraction, seed):
    (fold,) = few_shot_splits(patients, ["all"], 1, fraction, seed)
    part = len(fold.validation_patients) / len(names_of(patients))
    for names in patients_by_group(patients).values():
        drawn = len(set(names) & set(fold.validation_patients))
        assert abs(drawn - part * len(names)) < 1


@given(datasets(), st.integers(0, 1000))
def test_more_shots_and_more_seeds_change_no_earlier_subset(patients, seed):
    assume(len(names_of(patients)) >= 4)
    few = few_shot_splits(patients, [2], 2, 1, seed)
    many = {(fold.shots, fold.seed): fold for fold in few_shot_splits(patients, [1, 2, 3, "all"], 4, 1, seed)}
    for fold in few:
        assert many[fold.shots, fold.seed].train_patients == fold.train_patients


def test_the_folds_come_by_shots_then_seed():
    folds = few_shot_splits(dataset_of(a=12), ["all", 5, 1], seeds=2, validation=4)
    assert [(fold.shots, fold.seed) for fold in folds] == [(1, 0), (1, 1), (5, 0), (5, 1), ("all", 0)]


def test_single_shots_of_several_seeds_are_different_patients_of_different_groups():
    for seed in range(20):
        folds = few_shot_splits(dataset_of(a=5, b=5, c=5), [1], seeds=3, validation=3, seed=seed)
        assert {fold.train_patients[0][0] for fold in folds} == {"a", "b", "c"}
        folds = few_shot_splits(dataset_of(a=8), [1], seeds=5, validation=3, seed=seed)
        assert len({fold.train_patients for fold in folds}) == 5


@given(st.integers(1, 5), st.integers(0, 4), st.integers(0, 1000))
def test_three_seeds_share_no_patient_where_there_are_enough(shots, spare, seed):
    folds = few_shot_splits(dataset_of(a=3 * shots + spare + 2), [shots], seeds=3, validation=2, seed=seed)
    assert len({name for fold in folds for name in fold.train_patients}) == 3 * shots


def test_another_seed_gives_other_folds():
    patients = dataset_of(a=20)
    drawn = {few_shot_splits(patients, [2], 1, 5, seed)[0].to_split()["train"][0] for seed in range(20)}
    held_out = {few_shot_splits(patients, [2], 1, 5, seed)[0].validation_patients for seed in range(20)}
    assert len(drawn) > 3
    assert len(held_out) > 10


def test_a_fraction_leaves_patients_on_both_sides():
    for fraction in (0.01, 0.99):
        (fold,) = few_shot_splits(dataset_of(a=3), ["all"], 1, fraction)
        assert fold.train_patients
        assert fold.validation_patients


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shots": [8]}, "--shots 8 is more than the 7 patients"),
        ({"shots": [0]}, "at least 1"),
        ({"shots": []}, "at least one number"),
        ({"shots": [2, 2]}, "twice"),
        ({"shots": [1], "seeds": 0}, "--seeds"),
        ({"shots": [1], "seed": -1}, "--seed must be from 0 to 4294967295"),
        ({"shots": [1], "seed": 2**32}, "--seed must be from 0 to 4294967295"),
        ({"shots": [1], "validation": 10}, "from 1 to 9"),
        ({"shots": [1], "validation": 0}, "from 1 to 9"),
        ({"shots": [1], "validation": 1.0}, "between 0 and 1"),
        ({"shots": [1], "validation": float("nan")}, "between 0 and 1"),
    ],
)
def test_arguments_out_of_range_are_named(arguments, message):
    with pytest.raises(UserError, match=message):
        few_shot_splits(dataset_of(a=10), **arguments)


def test_one_patient_cannot_be_split():
    for patients in (dataset_of(a=1), {}):
        with pytest.raises(UserError, match="at least two patients"):
            few_shot_splits(patients, [1])
        with pytest.raises(UserError, match="number of patients"):
            cross_validation_splits(patients)


@given(datasets(), st.data(), st.integers(0, 1000))
def test_cross_validation_validates_on_every_patient_once(patients, data, seed):
    num_folds = data.draw(st.integers(2, len(names_of(patients))))
    folds = cross_validation_splits(patients, num_folds, seed)
    assert check_patient_leak([fold.to_split() for fold in folds], patients) == []
    assert sorted(case for fold in folds for case in fold.validation_cases) == sorted(patients)
    assert all(sorted(fold.train_cases + fold.validation_cases) == sorted(patients) for fold in folds)


def test_with_a_patient_per_case_cross_validation_is_nnunets_own():
    cases = [f"case_{number:03d}" for number in range(23)]
    folds = cross_validation_splits({case: Patient(case) for case in cases})
    assert [fold.to_split() for fold in folds] == [
        {side: [str(case) for case in names] for side, names in split.items()}
        for split in generate_crossval_split(cases)
    ]


@pytest.mark.parametrize("num_folds", [0, 1, 11])
def test_an_impossible_number_of_folds_is_refused(num_folds):
    with pytest.raises(UserError, match="from 2 to the number of patients, 10"):
        cross_validation_splits(dataset_of(a=10), num_folds)


def test_one_shot_patients_differ_between_seeds_as_long_as_their_group_has_others():
    sizes = {"A": 6, "B": 6, "C": 5, "D": 4}
    patients = {f"{group}{i}_ED": Patient(f"{group}{i}", group) for group, size in sizes.items() for i in range(size)}
    for seed in range(20):
        folds = few_shot_splits(patients, shots=[1], seeds=5, validation=2, seed=seed)
        assert len({fold.train_patients for fold in folds}) == 5
