import pytest
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets
from planned_dataset import environment_of

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.data.dataset_folders import preprocessed_folder, raw_folder, training_cases

CASES = ["heart_10", "heart_2", "heart_2_0000"]


@pytest.fixture
def folders(tmp_path):
    """The raw and the preprocessed folder of one dataset, with two channels per case."""
    raw, preprocessed = (tmp_path / name / "Dataset901_Heart" for name in ("nnUNet_raw", "nnUNet_preprocessed"))
    files = [raw / "imagesTr" / f"{case}_000{channel}.nii.gz" for case in CASES for channel in range(2)]
    files += [preprocessed / "gt_segmentations" / f"{case}.nii.gz" for case in CASES]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    for folder in (raw, preprocessed):
        write_json({"file_ending": ".nii.gz"}, folder / "dataset.json")
    with environment_of(tmp_path):
        yield raw, preprocessed


def test_the_cases_are_those_that_nnunet_finds(folders):
    assert training_cases(901) == sorted(get_filenames_of_train_images_and_targets(str(folders[0]))) == sorted(CASES)


def test_cases_listed_in_the_dataset_json_count(folders):
    listed = {"a": {"images": ["x.nii.gz"], "label": "y.nii.gz"}}
    write_json({"file_ending": ".nii.gz", "dataset": listed}, folders[0] / "dataset.json")
    assert training_cases("Dataset901_Heart") == ["a"]


def test_without_the_raw_data_the_preprocessed_labels_are_listed(folders, monkeypatch):
    (folders[0] / "dataset.json").unlink()
    assert raw_folder("Dataset901_Heart") is None
    assert training_cases(901) == sorted(CASES)
    monkeypatch.delenv("nnUNet_raw")
    assert training_cases(901) == sorted(CASES)


def test_a_dataset_without_cases_is_named(folders):
    for file in (folders[0] / "imagesTr").iterdir():
        file.unlink()
    with pytest.raises(UserError, match="imagesTr"):
        training_cases(901)


def test_a_dataset_that_is_not_planned_yet_names_the_command(folders):
    other = folders[0].with_name("Dataset902_Other")
    other.mkdir()
    with pytest.raises(UserError, match="nnUNetv2_plan_and_preprocess for Dataset902_Other"):
        preprocessed_folder(902)


def test_a_dataset_that_is_neither_name_nor_number_is_refused(folders):
    with pytest.raises(UserError, match="hearts"):
        preprocessed_folder("hearts")
