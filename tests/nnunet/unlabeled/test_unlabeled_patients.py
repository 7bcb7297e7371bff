import pytest
from planned_dataset import DATASET, environment_of
from unlabeled_dataset import make_raw, volume, write

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.patients.patients import read_patients
from nnunet_pix2rep.nnunet.unlabeled.adding.add import add_unlabeled
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import PatientLookup


@pytest.fixture
def raw(tmp_path):
    with environment_of(tmp_path):
        yield make_raw(tmp_path)


def test_patients_by_expression(raw, source):
    for seed, name in enumerate(("pat1_a", "pat1_b", "pat2_a")):
        write(volume(seed), source / f"{name}.nii.gz")
    with pytest.raises(UserError, match=r"finds no patient in: .*pat1_a"):
        add_unlabeled(DATASET, source, patient_regex="(x+)_.*")
    add_unlabeled(DATASET, source, patient_regex=r"([a-z0-9]+)_\w+")
    patients = read_patients(["pat1_a", "pat1_b", "pat2_a", "case_00"], raw / "patients.json")
    assert [patients[case].name for case in ("pat1_a", "pat1_b", "pat2_a", "case_00")] == [
        "pat1",
        "pat1",
        "pat2",
        "case",
    ]


def test_patients_by_table(raw, source, tmp_path):
    write_json({f"case_0{n}": {"patient": f"P{n}", "group": "HF"} for n in range(2)}, raw / "patients.json")
    for seed, name in enumerate("abc"):
        write(volume(seed), source / f"{name}.nii.gz")
    table = tmp_path / "patients.csv"
    table.write_text("case,patient,group\na,P0,\nb.nii.gz,P7,N\n", encoding="utf-8-sig")
    with pytest.raises(UserError, match="names no patient for: c"):
        add_unlabeled(DATASET, source, patients_table=table)
    assert not (raw / "imagesUn").exists()
    table.write_text("case,patient,group\na,P0,\nb.nii.gz,P7,N\nc,P7,N\n")
    add_unlabeled(DATASET, source, patients_table=table)
    content = read_json(raw / "patients.json")
    assert content["a"] == {"patient": "P0", "group": "HF"}
    assert content["b"] == content["c"] == {"patient": "P7", "group": "N"}
    table.write_text("case,patient,group\na,P1,\nb,P7,N\nc,P7,N\n")
    with pytest.raises(UserError, match="names P0 as the patient of a"):
        add_unlabeled(DATASET, source, patients_table=table)


def test_without_patients_each_case_is_its_own_and_a_file_that_is_there_stays_complete(raw, source):
    write(volume(1), source / "a.nii.gz")
    report = add_unlabeled(DATASET, source)
    assert "a patient of its own" in report.patients
    assert not (raw / "patients.json").exists()
    write_json({f"case_0{n}": {"patient": f"P{n}"} for n in range(2)}, raw / "patients.json")
    write(volume(2), source / "b.nii.gz")
    add_unlabeled(DATASET, source)
    assert read_patients(["b"], raw / "patients.json")["b"].name == "b"
    # said more precisely later
    add_unlabeled(DATASET, source, patient_regex="([ab])")
    assert read_patients(["case_00"], raw / "patients.json")["case_00"].name == "P0"


def test_a_frame_is_of_its_patient_where_patients_json_lists_the_others(raw, source):
    """Else it would be of nobody in ``imagesTs``, and a test patient would be annotated and pretrained on."""
    write_json({"patient101_frame01": {"patient": "patient101", "group": "HF"}}, raw / "patients.json")
    write(volume(1), source / "patient101_frame05.nii.gz")
    write(volume(2), source / "b.nii.gz")
    report = add_unlabeled(DATASET, source)
    assert "patientNNN_frameNN is a frame of patientNNN" in report.patients
    content = read_json(raw / "patients.json")
    assert content["patient101_frame05"] == {"patient": "patient101", "group": "HF"}
    assert content["b"] == {"patient": "b", "group": None}


@pytest.mark.parametrize("content", [[{"case": "a", "patient": "b"}], {"case_00": "P0"}, {"case_00": {"name": "P0"}}])
def test_a_malformed_patients_json_is_named_and_left_alone(raw, source, content):
    write_json(content, raw / "patients.json")
    write(volume(51), source / "a.nii.gz")
    with pytest.raises(UserError, match=r"patients\.json"):
        add_unlabeled(DATASET, source)
    with pytest.raises(UserError, match=r"patients\.json"):
        PatientLookup(raw)
    assert read_json(raw / "patients.json") == content
    assert not (raw / "imagesUn").exists()
