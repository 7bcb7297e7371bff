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


def test_patients_are_taken_by_name(dataset, capsys):
    public = "patient009 patient003 patient005"
    assert run(f"-d 27 --shots 1 3 all --train-patients {public} --validation-patients patient010 patient002") == 0
    printed = capsys.readouterr().out
    folds = read_recorded_folds(dataset)
    assert [fold.train_patients for fold in folds[:2]] == [("patient009",), ("patient003", "patient005", "patient009")]
    assert len(folds[2].train_patients) == 10
    assert {fold.validation_patients for fold in folds} == {("patient002", "patient010")}
    assert read_json(dataset / "splits_final.json")[0] == {
        "train": ["patient009_frame01", "patient009_frame10"],
        "val": ["patient002_frame01", "patient002_frame10", "patient010_frame01", "patient010_frame10"],
    }
    assert "Validation in every fold: 2 patients with 4 cases: patient002, patient010" in printed
    settings = read_json(dataset / "pix2rep_splits.json")["settings"]
    assert settings["train_patients"] == public.split()
    assert settings["validation"] == ["patient010", "patient002"]


def test_validation_patients_are_drawn_from_those_who_are_not_named(dataset):
    run("-d 27 --shots 2 --train-patients patient001 patient002 --validation 10")
    (fold,) = read_recorded_folds(dataset)
    assert len(fold.validation_patients) == 10
    assert fold.train_patients == ("patient001", "patient002")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--shots 1 --train-patients patient099", "--train-patients names patient099, .* named like patient001"),
        ("--shots 1 --validation-patients patient099", "--validation-patients names patient099"),
        ("--shots 1 --train-patients patient001 patient001", "each of them once"),
        ("--shots 2 --train-patients patient001", "--shots 2 is more than the 1 patients that --train-patients names"),
        ("--shots 1 --train-patients patient001 --validation-patients patient001", "both name patient001"),
        ("--shots 1 --train-patients patient001 --seeds 2", "Leave --seeds out"),
        ("--shots 1 --validation 2 --validation-patients patient001", "give one of them"),
        ("--cross-validation --train-patients patient001", "--train-patients: only with --shots"),
        (
            "--shots all --validation-patients " + " ".join(f"patient{number:03d}" for number in range(1, 13)),
            "names all patients of the dataset",
        ),
    ],
)
def test_names_that_make_no_split_are_refused(dataset, options, message):
    with pytest.raises(UserError, match=message):
        run(f"-d 27 {options}")
    assert list(dataset.iterdir()) == []
