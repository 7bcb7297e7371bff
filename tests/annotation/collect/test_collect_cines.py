"""Labels of a frame of a cine: its image has no file of its own in the dataset, only a copy in the work folder."""

import shutil

import numpy as np
import pytest
import SimpleITK
from tiny_training import DATASET, PLANS
from work_folders import FOLDERS, expected, names_in

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.unlabeled.pool import pool_folder, read_pool
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import patients_with_pool
from nnunet_pix2rep.nnunet.unlabeled.preprocess import preprocess_unlabeled

FRAME, CHOSEN = "dora_frame02", {"dora_frame02": [4, 6]}


@pytest.fixture
def cine(scans):
    """The dataset with a cine of two frames, of which the second is suggested and drawn."""
    frames = [SimpleITK.ReadImage(str(scans.image_files(case)[0])) for case in ("case_04", "case_05")]
    SimpleITK.WriteImage(SimpleITK.JoinSeries(frames), str(scans.raw / "imagesUn" / "dora_0000.nii.gz"))
    shutil.copy(scans.root / "truth" / "case_05.nii.gz", scans.root / "truth" / f"{FRAME}.nii.gz")
    placeholder = scans.raw / "imagesTr" / "labeled_0000.nii.gz"  # preprocess_unlabeled wants a labeled case
    placeholder.touch()
    for configuration in ("2d", "3d_fullres"):
        preprocess_unlabeled(DATASET, configuration, PLANS, num_processes=1)
    placeholder.unlink()
    scans.prepare(CHOSEN, copies={FRAME: frames[1]}, patients={FRAME: "dora"})
    return scans


def test_the_frame_becomes_a_labeled_case_and_the_cine_stays(cine):
    report = cine.collect()
    assert report.slices == CHOSEN
    assert any("its image is copied from" in note for note in report.notes)
    assert names_in(cine.raw / "imagesTr") == [f"{FRAME}_0000.nii.gz"]
    assert (cine.raw / "imagesUn" / "dora_0000.nii.gz").is_file()
    np.testing.assert_array_equal(cine.taken(FRAME), expected(cine, FRAME, CHOSEN[FRAME]))
    for folder in FOLDERS:
        assert report.preprocessed[folder] == [FRAME]
        images = read_pool(pool_folder(cine.preprocessed, folder)).images
        assert "dora_frame01" in images
        assert FRAME not in images
    assert cine.collect().changed == []


@pytest.mark.parametrize("what", ["saved over", "deleted"])
def test_the_frame_is_taken_from_the_cine_where_its_copy_is_not_as_it_was(cine, what):
    (copy,) = cine.image_files(FRAME)
    frame = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(copy)))
    if what == "saved over":
        SimpleITK.WriteImage(SimpleITK.SmoothingRecursiveGaussian(SimpleITK.ReadImage(str(copy)), 2.0), str(copy))
    else:
        copy.unlink()
    report = cine.collect()
    assert any(f"taken from {cine.raw / 'imagesUn' / 'dora_0000.nii.gz'} again" in note for note in report.notes)
    taken = SimpleITK.ReadImage(str(cine.raw / "imagesTr" / f"{FRAME}_0000.nii.gz"))
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(taken), frame)


@pytest.mark.parametrize("cine_is", ["gone", "another"])
def test_a_changed_copy_is_refused_where_the_cine_does_not_have_the_frame_any_more(cine, cine_is):
    (copy,) = cine.image_files(FRAME)
    SimpleITK.WriteImage(SimpleITK.ReadImage(str(copy)) + 1, str(copy))
    source = cine.raw / "imagesUn" / "dora_0000.nii.gz"
    if cine_is == "gone":
        source.unlink()
    else:
        other = SimpleITK.ReadImage(str(cine.image_files("case_04")[0]))
        SimpleITK.WriteImage(SimpleITK.JoinSeries([other, other]), str(source))
    with pytest.raises(UserError, match=f"{FRAME} was suggested with another image: {copy} was changed"):
        cine.collect()
    assert names_in(cine.raw / "imagesTr") == []


def test_the_other_frames_are_of_the_same_patient_afterwards(cine):
    """Else they would be pretrained on where the labeled frame is a validation case."""
    report = cine.collect()
    assert any("patients.json was made" in note for note in report.notes)
    patients = patients_with_pool(cine.preprocessed, [FRAME, "dora_frame01"])
    assert {patient.name for patient in patients.values()} == {"dora"}


def test_a_patients_json_that_is_there_gets_the_frame(cine):
    records = {f"case_0{number}": {"patient": f"P{number}", "group": None} for number in range(6)}
    write_json(records, cine.raw / "patients.json")
    assert not any("patients.json was made" in note for note in cine.collect().notes)
    assert read_json(cine.raw / "patients.json")[FRAME]["patient"] == "dora"


def test_a_scan_that_was_removed_does_not_come_back_from_the_work_folder(scans):
    image = SimpleITK.ReadImage(str(scans.image_files("case_00")[0]))
    scans.prepare({"case_00": [6]}, copies={"case_00": image})
    (scans.raw / "imagesUn" / "case_00_0000.nii.gz").unlink()
    with pytest.raises(UserError, match="case_00 has no image in imagesTr or imagesUn"):
        scans.collect()
