"""Whose the series of a new dataset are, by the PatientID in their headers."""

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from planned_dataset import DATASET, environment_of
from unlabeled_dataset import make_raw, volume, write

from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.unlabeled.adding.add import add_unlabeled
from nnunet_pix2rep.nnunet.unlabeled.adding.add_patients import extend_patients
from nnunet_pix2rep.nnunet.unlabeled.adding.discover import FoundImage, find_images


def series(*named):
    """Images of DICOM series, given as path and PatientID."""
    return [FoundImage(Path(path).name, path, (Path(f"{path}.dcm"),), True, patient) for path, patient in named]


def patients_of(folder, images):
    records, source = extend_patients(folder, images, [], None, None, is_new=True)
    return {case: record["patient"] for case, record in records.items()}, source


def test_series_of_one_patient_id_are_of_one_patient_whose_id_is_not_passed_on(tmp_path):
    images = series(("a/anna_es", "4711"), ("a/anna_ed", "4711"), ("b/ben", "4712"))
    patients, source = patients_of(tmp_path, images)
    assert patients == {"anna_es": "anna_ed", "anna_ed": "anna_ed", "ben": "ben"}
    assert "PatientID of 3 DICOM series: 2 patient(s); --patient-regex" in source
    assert "471" not in json.dumps(patients) + source


@pytest.mark.parametrize("constant", ["", "ANONYMOUS"])
def test_what_anonymization_left_in_all_folders_makes_no_one_the_same(tmp_path, constant):
    patients, source = patients_of(tmp_path, series(("a/anna", constant), ("b/ben", constant)))
    assert patients == {"anna": "anna", "ben": "ben"}
    assert "every case is taken as a patient of its own" in source


def test_series_that_come_later_are_told_apart_too_where_the_file_keeps_it(tmp_path):
    images = series(("a/anna_es", "4711"), ("a/anna_ed", "4711"), ("b/ben", "4712"))
    assert extend_patients(tmp_path, images, [], None, None)[0] is None
    write_json({"carl": {"patient": "carl", "group": None}}, tmp_path / "patients.json")
    records, source = extend_patients(tmp_path, images, ["carl"], None, None)
    patients = {case: record["patient"] for case, record in records.items()}
    assert patients == {"carl": "carl", "ben": "ben", "anna_es": "anna_ed", "anna_ed": "anna_ed"}
    assert "PatientID of 3 DICOM series: 2 patient(s)" in source


def test_one_patient_in_one_folder_and_files_without_headers(tmp_path):
    images = [*series(("a/ed", "1"), ("a/es", "1")), FoundImage("carl", "carl.nii.gz", (tmp_path / "carl.nii.gz",))]
    patients, source = patients_of(tmp_path, images)
    assert patients == {"ed": "ed", "es": "ed", "carl": "carl"}
    assert "PatientID of 2 DICOM series: 1 patient(s); case names" in source
    assert "case names" in patients_of(tmp_path, images[2:])[1]


def test_the_id_is_read_from_the_files(tmp_path):
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for number, patient in enumerate(("4711 ", None), start=1):
        image = SimpleITK.Image(8, 8, SimpleITK.sitkInt16)
        tags = {"0020|000e": f"1.2.{number}", "0020|0011": str(number), "0008|0018": f"1.2.{number}.1"}
        for tag, value in (tags | ({"0010|0020": patient} if patient else {})).items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(tmp_path / f"{number}.dcm"))
        writer.Execute(image)
    found = {image.name.rpartition("_")[2]: image.patient_id for image in find_images(tmp_path).images}
    assert found == {"series1": "4711", "series2": ""}


@pytest.mark.parametrize("ending", [".nii.gz", ".nrrd", ".mha"])
def test_a_converted_image_does_not_say_who_the_patient_is(tmp_path, source, ending):
    tags = {"0008|0060": "MR", "0010|0010": "DOE^JOHN", "0010|0020": "4711-0815", "0010|0030": "19600101"}
    for number, slices in enumerate((5, 1)):
        frames = np.random.default_rng(number).integers(0, 1000, (slices, 40, 36), dtype=np.uint16)
        write(with_tags(SimpleITK.GetImageFromArray(frames), tags), source / f"{slices}_slices" / "scan.dcm")
    for number, kind in enumerate({".nrrd", ".mha"} - {ending}):
        write(with_tags(volume(number), tags), source / f"{kind[1:]}_file" / f"scan{kind}")
    with environment_of(tmp_path):
        raw = make_raw(tmp_path, ending)
        report = add_unlabeled(DATASET, source)
    assert report.problems == {}
    written = sorted((raw / "imagesUn").iterdir())
    assert len(written) == (4 if ending == ".nii.gz" else 3)
    for file in written:
        added = SimpleITK.ReadImage(str(file))
        said = file.read_bytes() + str([added.GetMetaData(key) for key in added.GetMetaDataKeys()]).encode()
        assert not any(word in said for word in (b"DOE", b"4711-0815", b"19600101")), file.name


def with_tags(image, tags):
    for tag, value in tags.items():
        image.SetMetaData(tag, value)
    return image
