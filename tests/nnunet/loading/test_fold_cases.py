import pytest
from planned_dataset import environment_of

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.loading.fold_cases import check_fold, patients_of, pretraining_cases, warn_of_leaks

CASES = [f"patient{number:03d}_frame{frame:02d}" for number in range(3) for frame in (1, 12)]


@pytest.fixture
def dataset_folder(tmp_path):
    """A folder with two folds by frame, as nnU-Net splits: one patient is on both sides of fold 0."""
    folder = tmp_path / "nnUNet_preprocessed" / "Dataset027_ACDC"
    splits = [{"train": CASES[:3], "val": CASES[3:]}, {"train": CASES[:2], "val": CASES[4:]}]
    write_json(splits, folder / "splits_final.json")
    with environment_of(tmp_path):
        yield folder


@pytest.mark.parametrize("fold", [0, 1, "1", "all"])
def test_folds_of_the_splits_file_and_all_are_fine(dataset_folder, fold):
    check_fold(fold, dataset_folder, CASES)


@pytest.mark.parametrize("fold", [2, "5", -1])
def test_a_fold_that_the_splits_file_lacks_is_refused(dataset_folder, fold):
    with pytest.raises(UserError, match=rf"Fold {fold} .*splits_final\.json has the folds 0 to 1"):
        check_fold(fold, dataset_folder, CASES)


def test_a_fold_that_names_cases_without_images_is_refused(dataset_folder):
    with pytest.raises(UserError, match=rf"{CASES[0]}.*1 in all"):
        check_fold(0, dataset_folder, CASES[1:])


def test_without_a_splits_file_five_cases_are_needed(dataset_folder):
    (dataset_folder / "splits_final.json").unlink()
    check_fold(3, dataset_folder, CASES[:5])
    check_fold("all", dataset_folder, CASES[:1])
    with pytest.raises(UserError, match="4 case"):
        check_fold(0, dataset_folder, CASES[:4])


def test_patients_on_both_sides_are_warned_of(dataset_folder):
    lines = []
    warn_of_leaks(CASES[:3], CASES[3:], dataset_folder, lines.append)
    assert len(lines) == 1
    assert "1 patient" in lines[0]
    warn_of_leaks(CASES[:2], CASES[2:], dataset_folder, lines.append)
    assert len(lines) == 1


def test_pretraining_sees_every_case_of_patients_outside_the_validation_set(dataset_folder):
    """Also those that the fold does not list for training, but no other frame of a validation patient."""
    assert pretraining_cases(CASES, [CASES[3]], dataset_folder) == [*CASES[:2], *CASES[4:]]
    assert pretraining_cases(CASES, [], dataset_folder) == sorted(CASES)
    assert pretraining_cases(CASES, CASES[::2], dataset_folder) == []


def test_patients_are_those_of_the_patients_file_where_there_is_one(dataset_folder):
    cases = ["scan_a", "scan_b", "scan_c"]
    assert patients_of(cases, dataset_folder) == cases
    names = {"scan_a": "one", "scan_b": "one", "scan_c": "two"}
    write_json({case: {"patient": name} for case, name in names.items()}, dataset_folder / "patients.json")
    assert patients_of(cases, dataset_folder) == ["one", "two"]
    assert pretraining_cases(cases, ["scan_a"], dataset_folder) == ["scan_c"]


@pytest.mark.parametrize("fold", [5, "7", -1])
def test_a_fold_beyond_those_that_nnunet_would_make_is_refused(dataset_folder, fold):
    (dataset_folder / "splits_final.json").unlink()
    check_fold(4, dataset_folder, CASES)
    with pytest.raises(UserError, match=rf"Fold {fold} does not exist: .* the folds 0 to 4"):
        check_fold(fold, dataset_folder, CASES)
