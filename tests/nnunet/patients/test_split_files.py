import pytest
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.patients.few_shot_folds import cross_validation_splits, few_shot_splits
from nnunet_pix2rep.nnunet.patients.patients import Patient, describe_source, read_patients
from nnunet_pix2rep.nnunet.patients.split_files import (
    known_patients,
    read_recorded_folds,
    read_splits,
    write_splits,
)

PATIENTS = {
    f"heart_{number}_{frame}": Patient(f"heart_{number}", "AB"[number % 2])
    for number in range(8)
    for frame in ("ED", "ES")
}


def write(folder, seed=1):
    folds = few_shot_splits(PATIENTS, [1, 2], 2, 3, seed)
    return folds, write_splits(folder, folds, PATIENTS, {"kind": "few-shot", "seed": seed})


def contents_of(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_nnunet_trains_on_the_cases_of_the_fold(tmp_path):
    folds, _ = write(tmp_path)

    class OnlyDoSplit:
        preprocessed_dataset_folder_base = preprocessed_dataset_folder = str(tmp_path)
        folder_with_segs_from_previous_stage = None
        print_to_log_file = print

        def dataset_class(self, *_, **__):
            return None

    for fold in folds:
        trainer = OnlyDoSplit()
        trainer.fold = fold.fold
        assert nnUNetTrainer.do_split(trainer) == (list(fold.train_cases), list(fold.validation_cases))


def test_the_record_gives_the_folds_back(tmp_path):
    folds, _ = write(tmp_path)
    assert read_recorded_folds(tmp_path) == folds
    folds = cross_validation_splits(PATIENTS, 4)
    write_splits(tmp_path, folds, PATIENTS, {"kind": "cross-validation"})
    assert read_recorded_folds(tmp_path) == folds


def test_the_record_names_the_settings(tmp_path):
    write(tmp_path, seed=7)
    assert read_json(tmp_path / "pix2rep_splits.json")["settings"] == {"kind": "few-shot", "seed": 7}


def test_the_same_folds_are_not_written_again(tmp_path):
    _, first = write(tmp_path)
    before = contents_of(tmp_path)
    _, second = write(tmp_path)
    assert len(first.written) == 2
    assert second.written == second.backups == ()
    assert contents_of(tmp_path) == before


def test_every_replaced_split_is_kept(tmp_path):
    own_split = [{"train": ["heart_0_ED"], "val": ["heart_1_ED"]}]
    write_json(own_split, tmp_path / "splits_final.json")
    kept = [own_split]
    for seed in range(4):
        folds, written = write(tmp_path, seed)
        assert read_json(tmp_path / "splits_final.json") == [fold.to_split() for fold in folds]
        backup = next(path for path in written.backups if path.name.startswith("splits_final.backup_"))
        assert read_json(backup) == kept[-1]
        kept.append([fold.to_split() for fold in folds])
    backups = [read_json(path) for path in tmp_path.glob("splits_final.backup_*.json")]
    assert len(backups) == 4
    assert all(split in backups for split in kept[:-1])


def test_a_broken_split_is_not_replaced(tmp_path):
    (tmp_path / "splits_final.json").write_text("[")
    with pytest.raises(UserError, match=r"splits_final\.json"):
        write(tmp_path)
    assert contents_of(tmp_path) == {"splits_final.json": b"["}


def test_a_split_changed_by_hand_no_longer_fits_its_record(tmp_path):
    write(tmp_path)
    splits = read_json(tmp_path / "splits_final.json")
    splits[0]["train"].pop()
    write_json(splits, tmp_path / "splits_final.json")
    with pytest.raises(UserError, match="changed"):
        read_recorded_folds(tmp_path)


def test_a_missing_or_foreign_record_is_explained(tmp_path):
    with pytest.raises(UserError, match="Run nnunet_pix2rep split"):
        read_recorded_folds(tmp_path)
    write_json({"format_version": 99}, tmp_path / "pix2rep_splits.json")
    with pytest.raises(UserError, match="format"):
        read_recorded_folds(tmp_path)


def test_patients_of_the_record_are_known_later(tmp_path):
    assert known_patients(tmp_path, PATIENTS) == read_patients(PATIENTS)
    write(tmp_path)
    assert known_patients(tmp_path, PATIENTS) == PATIENTS
    cases = [*PATIENTS, "added_later"]
    assert known_patients(tmp_path, cases) == PATIENTS | read_patients(["added_later"])


def test_cases_annotated_after_a_split_are_of_the_patients_of_its_expression(tmp_path):
    folds = few_shot_splits(PATIENTS, [1, 2], 2, 3, 1)
    write_splits(tmp_path, folds, PATIENTS, {"patients_from": describe_source(PATIENTS, None, r"(heart_\d+)_.*")})
    found = known_patients(tmp_path, [*PATIENTS, "heart_1_MID", "heart_99_ED", "unlike"])
    assert found["heart_1_MID"] == PATIENTS["heart_1_ED"]
    assert found["heart_99_ED"] == Patient("heart_99")
    assert found["unlike"] == Patient("unlike")


def test_patients_json_that_is_written_or_corrected_after_a_split_comes_before_its_record(tmp_path):
    write(tmp_path)
    corrected = {"heart_0_ED": {"patient": "anna"}, "heart_1_ED": {"patient": "anna"}}
    write_json(corrected, tmp_path / "patients.json")
    assert known_patients(tmp_path, PATIENTS) == PATIENTS | dict.fromkeys(corrected, Patient("anna"))


def test_the_expression_of_a_split_comes_before_patients_json(tmp_path):
    folds = few_shot_splits(PATIENTS, [1, 2], 2, 3, 1)
    write_splits(tmp_path, folds, PATIENTS, {"patients_from": describe_source(PATIENTS, None, r"(heart_\d+)_.*")})
    write_json({"heart_0_ED": {"patient": "anna"}}, tmp_path / "patients.json")
    assert known_patients(tmp_path, PATIENTS) == PATIENTS


@pytest.mark.parametrize(
    "content", [3, {"train": [], "val": []}, [["a"]], [{"train": ["a"]}], [{"train": "", "val": []}]]
)
def test_what_is_no_list_of_folds_is_explained(tmp_path, content):
    write_json(content, tmp_path / "splits_final.json")
    with pytest.raises(UserError, match="no list of folds"):
        read_splits(tmp_path)
