import argparse
import shlex

import pytest
from planned_dataset import environment_of

from nnunet_pix2rep.cli.train import split
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.patients.patients import check_patient_leak, read_patients
from nnunet_pix2rep.nnunet.patients.split_files import read_recorded_folds

CASES = [f"patient{number:03d}_frame{frame:02d}" for number in range(1, 13) for frame in (1, 10)]


@pytest.fixture
def dataset(tmp_path):
    """The preprocessed folder of a dataset with two frames of each patient, named as in ACDC."""
    raw, preprocessed = (tmp_path / name / "Dataset027_ACDC" for name in ("nnUNet_raw", "nnUNet_preprocessed"))
    (raw / "imagesTr").mkdir(parents=True)
    preprocessed.mkdir(parents=True)
    for case in CASES:
        (raw / "imagesTr" / f"{case}_0000.nii.gz").touch()
    write_json({"file_ending": ".nii.gz"}, raw / "dataset.json")
    with environment_of(tmp_path):
        yield preprocessed


def run(command):
    parser = argparse.ArgumentParser()
    split.add_arguments(parser)
    return split.run(parser.parse_args(shlex.split(command)))


def raw_of(dataset):
    return dataset.parents[1] / "nnUNet_raw" / dataset.name


def test_few_shot_folds_are_written_and_shown(dataset, capsys):
    assert run("-d 27 --shots 1 2 all --seeds 3 --validation 4") == 0
    printed = capsys.readouterr().out
    splits = read_json(dataset / "splits_final.json")
    assert len(splits) == 7
    assert check_patient_leak(splits, read_patients(CASES)) == []
    assert [len(fold["train"]) for fold in splits] == [2, 2, 2, 4, 4, 4, 16]
    for fold in read_recorded_folds(dataset):
        assert f"{fold.fold:>4}  {fold.shots:>5}  {fold.seed:>4}" in printed
    assert "12 patients with 24 cases" in printed
    assert str(dataset / "splits_final.json") in printed


def test_the_settings_are_recorded(dataset):
    run("-d 27 --shots 1 --validation 0.25 --seed 3 --patient-regex '(patient[0-9]+)'")
    settings = read_json(dataset / "pix2rep_splits.json")["settings"]
    source = settings.pop("patients_from")
    assert settings == {"kind": "few-shot", "shots": [1], "seeds": 3, "validation": 0.25, "seed": 3}
    assert "(patient[0-9]+)" in source


def test_a_dry_run_writes_nothing(dataset, capsys):
    assert run("-d 27 --shots 1 2 --dry-run") == 0
    assert list(dataset.iterdir()) == []
    assert "nothing was written" in capsys.readouterr().out


def test_a_second_run_says_what_it_replaced(dataset, capsys):
    run("-d 27 --shots 1 2")
    first = (dataset / "splits_final.json").read_bytes()
    run("-d 27 --shots 1 2")
    assert "nothing was written" in capsys.readouterr().out
    run("-d 27 --shots 1 2 --seed 1")
    (backup,) = dataset.glob("splits_final.backup_*.json")
    assert backup.read_bytes() == first
    assert str(backup) in capsys.readouterr().out


def test_groups_of_the_patients_file_are_balanced(dataset, capsys):
    patients = {case: {"patient": case[:10], "group": "AB"[case < "patient004"]} for case in CASES}
    write_json(patients, raw_of(dataset) / "patients.json")
    run("-d 27 --shots 2 --seeds 3 --validation 4")
    for fold in read_recorded_folds(dataset):
        assert {patients[case]["group"] for case in fold.train_cases} == {"A", "B"}
    assert "Groups: A 9, B 3" in capsys.readouterr().out


def test_cross_validation_keeps_patients_together(dataset):
    run("-d 27 --cross-validation")
    splits = read_json(dataset / "splits_final.json")
    assert len(splits) == 5
    assert check_patient_leak(splits, read_patients(CASES)) == []
    run("-d 27 --cross-validation 3")
    assert len(read_json(dataset / "splits_final.json")) == 3


def test_few_shot_options_do_not_go_with_cross_validation(dataset):
    with pytest.raises(UserError, match="--validation"):
        run("-d 27 --cross-validation --validation 3")


@pytest.mark.parametrize(
    "options", ["", "--shots 1 --cross-validation 3", "--shots few", "--shots 1 --validation half"]
)
def test_bad_options_end_with_usage(dataset, options):
    with pytest.raises(SystemExit):
        run(f"-d 27 {options}")


def test_a_split_in_the_raw_dataset_is_warned_about(dataset, capsys):
    write_json([], raw_of(dataset) / "splits_final.json")
    run("-d 27 --shots 1")
    assert "Warning" in capsys.readouterr().out
