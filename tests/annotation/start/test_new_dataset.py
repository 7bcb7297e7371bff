import numpy as np
import pytest
import SimpleITK
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from unlabeled_dataset import names_in, volume, write

from nnunet_pix2rep.annotation.start.new_dataset import labels_with_ignore, make_new_dataset
from nnunet_pix2rep.annotation.start.scan_survey import survey
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.unlabeled.adding.add import add_unlabeled
from nnunet_pix2rep.nnunet.unlabeled.adding.discover import find_images


def gray(seed, shape=(40, 36)):
    return SimpleITK.GetImageFromArray(np.random.default_rng(seed).integers(1, 200, shape).astype(np.uint8))


def color(seed, shape=(40, 36)):
    pixels = np.random.default_rng(seed).integers(1, 200, (*shape, 3)).astype(np.uint8)
    return SimpleITK.GetImageFromArray(pixels, isVector=True)


def make(scans, **options):
    return make_new_dataset(scans, 950, "Start", ["LV", "myocardium", "RV"], **options)


def everything_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_scans_of_several_formats_become_a_dataset_that_nnunet_reads(root, scans):
    made = make(scans)
    assert made.folder == root / "nnUNet_raw" / "Dataset950_Start"
    assert names_in(made.folder) == ["dataset.json", "imagesTr", "imagesUn", "labelsTr", "patients.json"]
    names = ["anna_1", "anna_2", "ben", "cine"]
    assert names_in(made.folder / "imagesUn") == [f"{name}_0000.nii.gz" for name in names]
    assert names_in(made.folder / "imagesTr") == names_in(made.folder / "labelsTr") == []
    dataset_json = read_json(made.folder / "dataset.json")
    assert dataset_json["labels"] == {"background": 0, "LV": 1, "myocardium": 2, "RV": 3, "ignore": 4}
    assert dataset_json["numTraining"] == 0
    assert dataset_json["channel_names"] == {"0": "MRI"}
    assert LabelManager(dataset_json["labels"], None).ignore_label == 4
    assert sorted(read_json(made.folder / "patients.json")) == names
    assert SimpleITK.ReadImage(str(made.folder / "imagesUn" / "cine_0000.nii.gz")).GetDimension() == 4


def test_patients_by_regex_and_acdc_names(root, scans):
    report = make(scans, patient_regex=r"([a-z]+)_?\d*", dry_run=True).report
    assert report.added
    assert report.patients == r"regular expression ([a-z]+)_?\d*: 3 patient(s) in 4 scan(s)"
    write(volume(30), scans / "patient007_frame01.nii.gz")
    patients = read_json(make(scans).folder / "patients.json")
    assert patients["patient007_frame01"]["patient"] == "patient007"
    assert patients["anna_1"]["patient"] == "anna_1"


def test_a_dry_run_writes_nothing(root, scans):
    assert len(make(scans, dry_run=True).report.added) == 4
    assert names_in(root / "nnUNet_raw") == []


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["LV", "RV", "LV"], "LV more than once"),
        (["LV", "ignore"], "ignore is there anyway"),
        (["Background", "LV"], "Background is there anyway"),
        (["LV", " "], "Name every structure"),
        ([], "Name every structure"),
    ],
)
def test_bad_labels_are_refused(root, scans, labels, message):
    with pytest.raises(UserError, match=message):
        make_new_dataset(scans, 950, "Start", labels)
    assert names_in(root / "nnUNet_raw") == []


def test_ignore_is_the_highest_label():
    assert labels_with_ignore(["b", "a"]) == {"background": 0, "b": 1, "a": 2, "ignore": 3}


def test_a_taken_id_is_refused_and_the_dataset_stays_as_it_is(root, scans):
    made = make(scans)
    before = everything_below(made.folder)
    with pytest.raises(UserError, match="add_unlabeled -d 950"):
        make(scans)
    with pytest.raises(UserError, match="ID 950 is taken by Dataset950_Start"):
        make_new_dataset(scans, 950, "Other", ["LV"])
    assert everything_below(made.folder) == before
    assert names_in(root / "nnUNet_raw") == ["Dataset950_Start"]


def test_patients_of_a_dataset_that_exists_are_corrected_by_the_command_that_the_refusal_names(root, scans):
    made = make(scans)
    assert read_json(made.folder / "patients.json")["anna_2"]["patient"] == "anna_2"
    with pytest.raises(UserError, match=r"add_unlabeled -d 950 -i FOLDER --patient-regex REGEX, .* corrects that"):
        make(scans, patient_regex=r"([a-z]+)_?\d*")
    report = add_unlabeled(950, scans, patient_regex=r"([a-z]+)_?\d*")
    assert (report.added, len(report.present)) == ({}, 4)
    patients = read_json(made.folder / "patients.json")
    assert {case: record["patient"] for case, record in patients.items()} == {
        "anna_1": "anna",
        "anna_2": "anna",
        "ben": "ben",
        "cine": "cine",
    }


@pytest.mark.parametrize("name", ["My Hearts", "a__b", "", "../x"])
def test_a_name_that_nnunet_cannot_use_is_refused(root, scans, name):
    with pytest.raises(UserError, match="cannot be a dataset's name"):
        make_new_dataset(scans, 950, name, ["LV"])


def test_a_folder_of_labels_without_dataset_json_is_left_alone(root, scans):
    write(volume(1), root / "nnUNet_raw" / "Dataset950_Start" / "labelsTr" / "a.nii.gz")
    with pytest.raises(UserError, match="labelsTr but no dataset"):
        make(scans)


def test_unreadable_scans_are_named_and_left_out(root, scans):
    (scans / "torn.nii.gz").write_bytes((scans / "ben.nii.gz").read_bytes()[:2000])
    (scans / "text.nrrd").write_text("no image")
    made = make(scans)
    assert sorted(made.report.problems) == ["text.nrrd", "torn.nii.gz"]
    assert len(made.report.added) == 4
    assert "torn" not in read_json(made.folder / "patients.json")


def test_without_any_readable_scan_nothing_is_left_behind(root, scans, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UserError, match="holds no NIfTI"):
        make(empty)
    (empty / "a.nrrd").write_text("no image")
    with pytest.raises(UserError, match=r"None of the scans can be read: a\.nrrd"):
        make(empty)
    write(color(1), empty / "a.png")
    (empty / "a.nrrd").unlink()
    with pytest.raises(UserError, match="it has 3 channel"):
        make(empty, channels=["grey"])
    assert names_in(root / "nnUNet_raw") == []


def test_an_interrupted_run_is_completed(root, scans, monkeypatch):
    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("nnunet_pix2rep.annotation.start.new_dataset._write_dataset_json", fail)
        with pytest.raises(KeyboardInterrupt):
            make(scans, patient_regex=r"([a-z]+)_?\d*")
    folder = root / "nnUNet_raw" / "Dataset950_Start"
    assert not (folder / "dataset.json").exists()
    (folder / "imagesUn" / "ben_0000.nii.gz").unlink()
    made = make(scans)
    assert (list(made.report.added.values()), len(made.report.present)) == (["ben"], 3)
    assert (folder / "dataset.json").is_file()
    assert read_json(folder / "patients.json")["anna_2"]["patient"] == "anna"


def test_photographs_become_a_2d_dataset_of_png_files(root, tmp_path):
    for seed in range(3):
        write(color(seed), tmp_path / "photos" / f"photo{seed}.png")
    write(color(9), tmp_path / "photos" / "lossy.jpg")
    made = make(tmp_path / "photos")
    assert made.channels == ("R", "G", "B")
    assert made.dimension == 2
    assert read_json(made.folder / "dataset.json")["file_ending"] == ".png"
    assert names_in(made.folder / "imagesUn") == [f"{n}_0000.png" for n in ("lossy", "photo0", "photo1", "photo2")]


def test_gray_images_in_colors_are_gray(root, tmp_path):
    for seed in range(2):
        image = gray(seed)
        write(SimpleITK.Compose(image, image, image), tmp_path / "photos" / f"photo{seed}.png")
    made = make(tmp_path / "photos")
    assert made.channels == ("grey",)
    assert len(made.report.added) == 2


def test_what_most_scans_are_like_is_the_measure(root, scans):
    write(volume(40, spacing=(1.5, 1.5, 30.0)), scans / "thick.nii.gz")
    write(gray(1), scans / "screenshot.png")
    turned = SimpleITK.DICOMOrient(volume(41), "LPI")
    write(turned, scans / "turned.nii.gz")
    report = make(scans).report
    assert "most scans have (1.5, 1.5, 8.0) mm" in report.warnings["thick.nii.gz"][0]
    assert "orientation LPI, most scans have LPS" in report.warnings["turned.nii.gz"][0]
    assert "most scans are 3D" in report.problems["screenshot.png"]


def test_several_channels_need_names(root, tmp_path):
    for case in "ab":
        for channel in range(2):
            write(volume(ord(case) + channel), tmp_path / "two" / f"{case}_{channel:04d}.nii.gz")
    with pytest.raises(UserError, match="Most scans have 2 channels"):
        make(tmp_path / "two")
    made = make(tmp_path / "two", channels=["T1", "T2"])
    assert read_json(made.folder / "dataset.json")["channel_names"] == {"0": "T1", "1": "T2"}
    assert len(names_in(made.folder / "imagesUn")) == 4


def test_the_file_ending_can_be_chosen_if_nnunet_reads_it(root, scans):
    with pytest.raises(UserError, match=r"Choose one of .*\.nii\.gz"):
        make(scans, file_ending=".dcm")
    with pytest.raises(UserError, match="most scans are 3D"):
        make(scans, file_ending=".png")
    assert all(name.endswith("_0000.mha") for name in names_in(make(scans, file_ending=".mha").folder / "imagesUn"))


@pytest.mark.parametrize(("modality", "channel"), [("CT", "CT"), ("MR", "MRI")])
def test_dicom_tells_spacing_and_modality(root, tmp_path, modality, channel):
    folder = tmp_path / "dicom" / "clara"
    folder.mkdir(parents=True)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index in range(4):
        part = gray(index)
        part.SetSpacing((1.5, 1.25))
        for tag, value in {
            "0008|0060": modality,
            "0020|000e": "1.2.3",
            "0020|0011": "1",
            "0020|0013": str(index),
            "0008|0018": f"1.2.3.{index + 1}",
            "0020|0032": f"-10\\20\\{4 * index}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
        }.items():
            part.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{index}.dcm"))
        writer.Execute(part)
    (scan,) = survey(find_images(tmp_path / "dicom").images)
    assert scan.spacing == pytest.approx((1.5, 1.25, 4.0))
    made = make(tmp_path / "dicom")
    assert list(made.report.added.values()) == ["clara"]
    assert made.channels == (channel,)


def test_more_scans_can_be_added_before_there_is_any_label(root, scans, tmp_path):
    made = make(scans)
    write(volume(60), tmp_path / "more" / "dora.nrrd")
    write(gray(1), tmp_path / "more" / "screenshot.png")
    report = add_unlabeled(950, tmp_path / "more")
    assert list(report.added.values()) == ["dora"]
    assert "the images there are 3D" in report.problems["screenshot.png"]
    assert read_json(made.folder / "patients.json")["dora"]["patient"] == "dora"
