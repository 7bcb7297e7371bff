import pytest
from nnunetv2.utilities.utils import get_filenames_of_train_images_and_targets

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.data.dataset_cases import images_by_folder, labeled_images


def make(raw, content, *files):
    for file in files:
        (raw / file).parent.mkdir(parents=True, exist_ok=True)
        (raw / file).touch()
    content = {"file_ending": ".nii.gz"} | content
    write_json(content, raw / "dataset.json")
    return content


@pytest.mark.parametrize("listed", [False, True])
def test_the_files_are_those_that_nnunet_finds(tmp_path, monkeypatch, listed):
    raw = tmp_path / "raw"
    monkeypatch.setenv("ARCHIVE", str(tmp_path / "archive"))
    dataset = {
        "a": {"images": ["$ARCHIVE/x.nii.gz", "y.nii.gz"], "label": "a.nii.gz"},
        "b": {"images": [str(tmp_path / "z.nii.gz"), "../w.nii.gz"], "label": "b.nii.gz"},
    }
    content = make(raw, {"dataset": dataset} if listed else {}, "imagesTr/c_0000.nii.gz", "imagesTr/c_0001.nii.gz")
    wanted = get_filenames_of_train_images_and_targets(str(raw))
    found = labeled_images(raw, content)
    assert {case: [str(file.resolve()) for file in files] for case, files in found.items()} == {
        case: entry["images"] for case, entry in wanted.items()
    }


def test_all_images_of_a_dataset(tmp_path):
    content = make(tmp_path, {}, "imagesTr/a_0000.nii.gz", "imagesTs/b_0000.nii.gz", "imagesUn/c_0000.nii.gz")
    found = images_by_folder(tmp_path, content, "imagesUn")
    assert {folder: list(cases) for folder, cases in found.items()} == {
        "imagesTr": ["a"],
        "imagesTs": ["b"],
        "imagesUn": ["c"],
    }


def test_a_list_of_another_form_is_named(tmp_path):
    content = make(tmp_path, {"dataset": {"a": {"image": "x.nii.gz"}}})
    with pytest.raises(UserError, match=r'dataset.json: "dataset" must be an object of case'):
        labeled_images(tmp_path, content)
