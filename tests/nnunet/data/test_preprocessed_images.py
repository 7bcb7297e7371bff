import numpy as np
import pytest
from nnunetv2.training.dataloading.utils import unpack_dataset
from preprocessed_cases import nnUNetDatasetBlosc2, nnUNetDatasetNumpy, write_cases

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase, preprocessed_cases

IMAGES = {
    name: np.random.default_rng(seed).normal(size=(2, 3, 5, 4)) for seed, name in enumerate(["b", "a", "c_seg_x"])
}
FORMATS = pytest.mark.parametrize("dataset_class", [nnUNetDatasetBlosc2, nnUNetDatasetNumpy])


@FORMATS
def test_images_are_read_as_nnunet_wrote_them(dataset_class, tmp_path):
    cases = preprocessed_cases(str(write_cases(tmp_path / "data", IMAGES, dataset_class)))
    assert [case.identifier for case in cases] == sorted(IMAGES)
    for case in cases:
        image = case.open()
        assert tuple(image.shape) == (2, 3, 5, 4)
        np.testing.assert_array_equal(image[:], IMAGES[case.identifier].astype(np.float32))


def test_images_that_nnunet_has_unpacked_are_read_too(tmp_path):
    folder = write_cases(tmp_path / "data", {"a": IMAGES["a"]}, nnUNetDatasetNumpy)
    unpack_dataset(str(folder), unpack_segmentation=True, num_processes=1)
    (folder / "a_seg.npy").unlink()
    (folder / "a.npz").write_bytes(b"")  # the unpacked file is the one that is read
    np.testing.assert_array_equal(ImageCase("a", str(folder)).open(), IMAGES["a"].astype(np.float32))


@FORMATS
def test_labels_and_properties_are_not_needed(dataset_class, tmp_path):
    folder = write_cases(tmp_path / "data", IMAGES, dataset_class)
    for path in [*folder.glob("*_seg.b2nd"), *folder.glob("*.pkl")]:
        path.unlink()
    for path in folder.glob("*.npz"):
        np.savez_compressed(path, data=np.load(path)["data"])
    for case in preprocessed_cases(str(folder)):
        np.testing.assert_array_equal(case.open()[:], IMAGES[case.identifier].astype(np.float32))


def test_a_case_without_an_image_is_named(tmp_path):
    folder = write_cases(tmp_path / "data", {"a": IMAGES["a"]})
    with pytest.raises(UserError, match=r"case b in .*data"):
        ImageCase("b", str(folder)).open()


@pytest.mark.parametrize("name", ["a.b2nd", "a.npy", "a.npz"])
@pytest.mark.parametrize("content", [b"", b"not an image at all" * 10])
def test_a_damaged_image_is_named(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}.*nnUNetv2_preprocess"):
        ImageCase("a", str(tmp_path)).open()


@pytest.mark.parametrize("content", ["missing", "empty", "properties_only"])
def test_a_folder_without_images_is_named(tmp_path, content):
    folder = tmp_path / "data"
    if content != "missing":
        folder.mkdir()
    if content == "properties_only":
        (folder / "a.pkl").touch()
    with pytest.raises(UserError, match=r"data\. Run nnUNetv2_preprocess"):
        preprocessed_cases(str(folder))
