import re

import pytest

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.patients.patients import (
    Patient,
    cases_by_patient,
    check_patient_leak,
    describe_source,
    find_patients_file,
    patients_by_group,
    read_patients,
)


@pytest.fixture
def patients_file(tmp_path):
    content = {
        "heart_01_ED": {"patient": "heart_01", "group": "normal"},
        "heart_01_ES": {"patient": "heart_01", "group": "normal"},
        "heart_02_ED": {"patient": "heart_02", "group": None},
        "heart_03_ED": {"patient": "heart_03"},
    }
    write_json(content, tmp_path / "patients.json")
    return tmp_path / "patients.json"


def test_frames_of_acdc_belong_to_one_patient():
    patients = read_patients(["patient001_frame01", "patient001_frame12", "patient002_frame01"])
    assert cases_by_patient(patients) == {
        "patient001": ["patient001_frame01", "patient001_frame12"],
        "patient002": ["patient002_frame01"],
    }


def test_other_cases_are_patients_of_their_own():
    cases = ["hippocampus_001", "hippocampus_002", "patient001", "my_patient001_frame01"]
    assert read_patients(cases) == {case: Patient(case) for case in cases}


def test_the_file_names_patient_and_group(patients_file):
    patients = read_patients(["heart_01_ED", "heart_01_ES", "heart_02_ED", "heart_03_ED"], patients_file)
    assert patients["heart_01_ED"] == patients["heart_01_ES"] == Patient("heart_01", "normal")
    assert patients["heart_02_ED"] == Patient("heart_02", None)
    assert patients["heart_03_ED"] == Patient("heart_03", None)
    assert patients_by_group(patients) == {"": ["heart_02", "heart_03"], "normal": ["heart_01"]}


def test_the_file_may_name_more_cases(patients_file):
    assert set(read_patients(["heart_01_ED"], patients_file)) == {"heart_01_ED"}


def test_a_regular_expression_overrules_the_file(patients_file):
    patients = read_patients(["heart_01_ED", "heart_02_ED"], patients_file, r"(heart)_")
    assert {patient.name for patient in patients.values()} == {"heart"}


def test_a_case_missing_from_the_file_is_named(patients_file):
    with pytest.raises(UserError, match=r"patients\.json does not name the patient of: heart_09"):
        read_patients(["heart_01_ED", "heart_09"], patients_file)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"patient": "a", "grup": "b"}, "grup"),
        ({"group": "b"}, '"patient"'),
        ({"patient": 3}, "text"),
        ({"patient": ""}, "text"),
        ({"patient": "a", "group": 1}, "text"),
        ("a", '"patient"'),
    ],
)
def test_a_malformed_record_is_named(tmp_path, record, message):
    write_json({"case_1": record}, tmp_path / "patients.json")
    with pytest.raises(UserError, match=f"patients.json.*case_1.*{message}"):
        read_patients(["case_1"], tmp_path / "patients.json")


def test_a_file_that_is_a_list_is_refused(tmp_path):
    write_json(["case_1"], tmp_path / "patients.json")
    with pytest.raises(UserError, match="must be an object"):
        read_patients(["case_1"], tmp_path / "patients.json")


def test_a_patient_in_two_groups_is_refused(tmp_path):
    content = {"a_1": {"patient": "a", "group": "x"}, "a_2": {"patient": "a", "group": "y"}}
    write_json(content, tmp_path / "patients.json")
    with pytest.raises(UserError, match="patient a is in the groups x and y"):
        read_patients(content, tmp_path / "patients.json")


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (r"heart_\d+", "one group"),
        (r"(heart)_(\d+)", "one group"),
        (r"(heart", "not a valid regular expression"),
        (r"(lung_\d+)", "finds no patient in: heart_01. It must match every case name from its start"),
        (r"heart(_x)?", "finds no patient in: heart_01"),
    ],
)
def test_an_unfit_regular_expression_is_explained(expression, message):
    with pytest.raises(UserError, match=message):
        read_patients(["heart_01"], patient_regex=expression)


@pytest.mark.parametrize("expression", [r"heart_\d+", r"(lung_\d+)", r"(\d"])
def test_a_regular_expression_is_shown_as_it_was_typed(expression):
    with pytest.raises(UserError) as raised:
        read_patients(["heart_01"], patient_regex=expression)
    assert f"'{expression}'" in str(raised.value)


def test_the_first_folder_with_a_file_counts(patients_file, tmp_path):
    assert find_patients_file(None, tmp_path / "absent", tmp_path) == patients_file
    assert find_patients_file(None, tmp_path / "absent") is None


def test_the_source_says_when_patients_are_only_guessed(patients_file):
    guessed = read_patients(["a", "b"])
    assert "every case is taken as a patient of its own" in describe_source(guessed, None, None)
    assert "patientNNN" in describe_source(read_patients(["patient001_frame01"]), None, None)
    assert str(patients_file) in describe_source(guessed, patients_file, None)
    assert "(a)" in describe_source(guessed, patients_file, "(a)")


def test_a_leak_names_fold_patient_and_cases():
    patients = read_patients(["patient001_frame01", "patient001_frame12", "patient002_frame01"])
    kept_apart = {"train": ["patient001_frame01", "patient001_frame12"], "val": ["patient002_frame01"]}
    leaking = {"train": ["patient001_frame01", "patient002_frame01"], "val": ["patient001_frame12"]}
    assert check_patient_leak([kept_apart], patients) == []
    (message,) = check_patient_leak([kept_apart, leaking], patients)
    for part in ("fold 1", "patient001", "patient001_frame01", "patient001_frame12"):
        assert part in message
    assert not re.search("patient002", message)


def test_a_case_in_both_parts_is_a_leak():
    assert len(check_patient_leak([{"train": ["a"], "val": ["a"]}], read_patients(["a"]))) == 1


def test_a_split_of_another_dataset_is_refused():
    with pytest.raises(UserError, match=r"Fold 0.*other"):
        check_patient_leak([{"train": ["a"], "val": ["other"]}], read_patients(["a"]))
