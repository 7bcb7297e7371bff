import pytest

from nnunet_pix2rep.benchmark.design.few_shot_draws import (
    add_folds,
    draw_folds,
    key_of,
    normalize_shots,
    number_of_shots,
)
from nnunet_pix2rep.benchmark.design.settings import BenchmarkSettings
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.patients.few_shot_folds import few_shot_splits
from nnunet_pix2rep.nnunet.patients.patients import Patient

PATIENTS = {f"{letter}{frame}": Patient(letter) for letter in "abcdefghijkl" for frame in (1, 2)}


def draw(shots=(1, 2, "all"), seeds=3, test=4, patients=PATIENTS, **others):
    return draw_folds(patients, BenchmarkSettings("Dataset001_X", "2d", shots=shots, seeds=seeds, test=test, **others))


def test_test_patients_are_drawn_as_split_does():
    (expected, *_) = few_shot_splits(PATIENTS, [1], 1, 4)
    for fold in draw():
        assert fold.validation_patients == expected.validation_patients
        assert len(fold.validation_cases) == 8
        assert not set(fold.train_patients) & set(fold.validation_patients)


def test_beside_a_test_folder_one_patient_is_looked_at(tmp_path):
    assert {len(fold.validation_patients) for fold in draw(test=tmp_path)} == {1}


def test_all_is_one_draw_and_has_a_number():
    assert [key_of(fold) for fold in draw()] == ["1_0", "1_1", "1_2", "2_0", "2_1", "2_2", "8_0"]
    assert normalize_shots([1, 8, "all"], 8) == [1, "all"]
    assert [key_of(fold) for fold in draw(shots=(8, "all"))] == ["8_0"]


def test_the_default_shots_are_those_that_there_are_patients_for():
    assert {number_of_shots(fold) for fold in draw(shots=None)} == {1, 2, 5, 8}


def test_draws_of_few_shots_share_no_patient():
    one_shot = list(draw(shots=(2,), seeds=4))
    assert len({name for fold in one_shot for name in fold.train_patients}) == 8


def test_what_is_added_changes_no_fold_that_is_there():
    earlier = draw(shots=(2,), seeds=1)
    folds = add_folds(earlier, draw(shots=(1, 2, "all"), seeds=3))
    assert folds[: len(earlier)] == earlier
    assert [fold.fold for fold in folds] == list(range(7))
    assert {key_of(fold) for fold in folds} == {key_of(fold) for fold in draw()}
    by_key = {key_of(fold): fold.train_cases for fold in draw()}
    assert all(by_key[key_of(fold)] == fold.train_cases for fold in folds)
    assert add_folds(folds, draw()) == folds


def test_another_dataset_is_refused():
    changed = {case: patient for case, patient in PATIENTS.items() if patient.name != "a"}
    with pytest.raises(UserError, match="other patients than when this benchmark was begun"):
        add_folds(draw(), draw(patients=changed, shots=(1, 2)))


@pytest.mark.parametrize("asked", [{"shots": ("all",)}, {"shots": None, "budgets": (6,)}])
def test_one_patient_more_never_brings_other_test_patients(asked):
    """Every patient is labeled then, which is a number of shots that no earlier draw has."""
    more = PATIENTS | {f"m{frame}": Patient("m") for frame in (1, 2)}
    earlier, later = (draw(**asked, seeds=1, patients=patients) for patients in (PATIENTS, more))
    assert earlier[0].validation_cases != later[0].validation_cases
    with pytest.raises(UserError, match="other patients than when this benchmark was begun"):
        add_folds(earlier, later)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"shots": (9,)}, "--shots 9 is more than the 8 patients that are left"),
        ({"shots": (0,)}, "at least 1"),
        ({"test": 12}, "--test must leave patients on both sides"),
        ({"test": 1.5}, "--test as a fraction"),
        ({"seeds": 0}, "--seeds must be at least 1"),
    ],
)
def test_bad_numbers_are_refused_in_the_words_of_the_benchmark(changes, message):
    with pytest.raises(UserError, match=message):
        draw(**changes)


def test_shots_are_patients_not_cases():
    (fold,) = draw(shots=(3,), seeds=1)
    assert number_of_shots(fold) == 3
    assert len(fold.train_cases) == 6


def test_labeled_and_test_patients_are_taken_by_name():
    names = sorted({patient.name for patient in PATIENTS.values()})
    labeled, test = (names[5], names[2], names[7]), (names[0], names[9])
    folds = draw(shots=(1, 3, "all"), seeds=1, test=test, train_patients=labeled)
    assert [fold.train_patients for fold in folds[:2]] == [(names[5],), tuple(sorted(labeled))]
    assert len(folds[2].train_patients) == len(names) - 2
    assert {fold.validation_patients for fold in folds} == {test}
    assert draw(shots=None, seeds=1, test=test, train_patients=labeled)[0].train_patients == tuple(sorted(labeled))


def test_the_patient_who_is_looked_at_beside_a_test_folder_is_not_a_named_one(tmp_path):
    names = sorted({patient.name for patient in PATIENTS.values()})
    for looked_at in names:
        labeled = tuple(name for name in names if name != looked_at)
        (fold,) = draw(shots=None, seeds=1, test=tmp_path, train_patients=labeled)
        assert fold.validation_patients == (looked_at,)
        assert fold.train_patients == labeled


def test_named_patients_who_make_no_benchmark_are_refused_in_its_words():
    with pytest.raises(UserError, match="--test-patients names nobody"):
        draw(test=("nobody",))
    with pytest.raises(UserError, match="--train-patients goes with --shots"):
        BenchmarkSettings("Dataset901_Tiny", "2d", budgets=(3,), train_patients=("a",))
