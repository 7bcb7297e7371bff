"""Names of cases that two datasets share by accident."""

from types import SimpleNamespace

import pytest
from planned_dataset import DATASET
from unlabeled_dataset import pool_of, run, volume, write

from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase
from nnunet_pix2rep.nnunet.loading.fold_cases import pretraining_cases
from nnunet_pix2rep.nnunet.loading.training_images import describe_held_out, draw_probabilities
from nnunet_pix2rep.nnunet.patients.split_files import RECORD_FILE
from nnunet_pix2rep.nnunet.unlabeled.pool import read_pool
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import pool_patients

OTHER = "Dataset950_Other"
NAMES = ("case_00", "case_04")  # as two labeled cases of the pool's dataset are named


@pytest.fixture
def other(root):
    folder = root / "nnUNet_raw" / OTHER
    for seed, name in enumerate(NAMES):
        write(volume(50 + seed), folder / "imagesTr" / f"{name}_0000.nii.gz")
    write_json({"file_ending": ".nii.gz", "channel_names": {"0": "MRI"}}, folder / "dataset.json")
    return folder


def patients(preprocessed):
    found = pool_patients(preprocessed, read_pool(pool_of(preprocessed)).images)
    return {name: patient.name for name, patient in found.items()}


def test_equal_names_are_other_people_and_a_warning_says_so(other, preprocessed):
    report = run(folder=other / "imagesTr")
    assert patients(preprocessed) == {f"{OTHER}_{name}": f"{OTHER}_{name}" for name in NAMES}
    warning = " ".join(report.selection.warnings)
    assert "2 of them bear the name of a labeled patient of Dataset900_Tiny, for instance case_00" in warning
    assert f'"{OTHER}_case_00": {{"patient": "case_00"}}' in warning
    training = pretraining_cases([*NAMES, *patients(preprocessed)], ["case_04"], preprocessed)
    assert training == ["Dataset950_Other_case_00", "Dataset950_Other_case_04", "case_00"]
    cases = [ImageCase(name, "") for name in training]
    assert draw_probabilities(cases, preprocessed) == pytest.approx([1 / 3] * 3)


def test_patients_json_of_the_dataset_says_that_they_are_the_same(other, raw, preprocessed):
    run(folder=other / "imagesTr")
    listed = [*(f"case_{number:02d}" for number in range(5)), f"{OTHER}_case_04"]
    write_json({name: {"patient": name.removeprefix(f"{OTHER}_")} for name in listed}, raw / "patients.json")
    assert patients(preprocessed) == {f"{OTHER}_case_00": f"{OTHER}_case_00", f"{OTHER}_case_04": "case_04"}
    images = [*NAMES, *patients(preprocessed)]
    training = pretraining_cases(images, ["case_04"], preprocessed)
    assert training == ["Dataset950_Other_case_00", "case_00"]
    pool = {name: SimpleNamespace(folder=str(pool_of(preprocessed))) for name in patients(preprocessed)}
    assert describe_held_out(pool, training) == [
        f"1 unlabeled image(s) not used: of validation patients, such as {OTHER}_case_04"
    ]
    assert describe_held_out(pool, images) == []


def test_patients_json_of_both_datasets_name_the_same_patient(other, preprocessed):
    write_json({"case_00": {"patient": "case_01"}, "case_04": {"patient": "case_04"}}, other / "patients.json")
    run(folder=other / "imagesTr")
    assert patients(preprocessed) == {
        f"{OTHER}_case_00": "case_01",
        f"{OTHER}_case_04": f"{OTHER}_case_04",  # only repeats the name of the case: nothing is known
    }


def test_the_expression_of_the_folds_groups_another_dataset_apart(other, preprocessed):
    labeled = {f"case_{number:02d}": {"patient": "case", "group": None} for number in range(5)}
    record = {"format_version": 1, "settings": {"patients_from": r"regular expression (case|Dataset)_?\d+.*"}}
    write_json(record | {"patients": labeled}, preprocessed / RECORD_FILE)
    run(folder=other / "imagesTr")
    assert set(patients(preprocessed).values()) == {f"{OTHER}_case"}


def test_a_record_that_does_not_note_the_dataset_is_understood(other, preprocessed):
    run(folder=other / "imagesTr")
    file = pool_of(preprocessed).with_suffix(".json")
    content = read_json(file)
    for image in content["images"].values():
        assert image.pop("dataset") == OTHER
    write_json(content, file)
    assert {image.dataset for image in read_pool(pool_of(preprocessed)).images.values()} == {OTHER}
    assert run(folder=other / "imagesTr").num_kept == 2


def test_images_of_the_dataset_itself_keep_their_names(raw, preprocessed):
    write(volume(1), raw / "imagesUn" / "patient007_frame05_0000.nii.gz")
    run()
    assert DATASET not in str(patients(preprocessed))
    assert patients(preprocessed) == {"patient007_frame05": "patient007"}
