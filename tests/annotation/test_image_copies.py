import nibabel
import numpy as np
import pytest

from nnunet_pix2rep.annotation.image_copies import changed_files, copy_images
from nnunet_pix2rep.files import checksum


@pytest.mark.parametrize("shear", [0.0, 0.2], ids=["ITK", "nibabel, since ITK refuses shear"])
def test_a_frame_has_the_same_checksum_whenever_it_is_copied(tmp_path, shear):
    affine = np.diag([1.0, 1.0, 1.0, 1.0])
    affine[0, 1] = shear
    values = np.arange(5 * 4 * 3 * 2, dtype=np.float32).reshape(5, 4, 3, 2)
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "cine_0000.nii.gz")
    first, second = (
        copy_images("case", [tmp_path / "cine_0000.nii.gz"], 2, ".nii.gz", tmp_path / name) for name in "ab"
    )
    assert [file.name for file in first] == ["case_0000.nii.gz"]
    assert changed_files(second, {file.name: checksum(file) for file in first}) == []


def test_the_spacing_of_a_3d_tiff_goes_with_it(tmp_path):
    (tmp_path / "x_0000.tif").touch()
    (tmp_path / "x.json").touch()
    copy_images("case", [tmp_path / "x_0000.tif"], None, ".tif", tmp_path / "images")
    assert sorted(path.name for path in (tmp_path / "images").iterdir()) == ["case.json", "case_0000.tif"]


def test_files_without_a_record_count_as_unchanged(tmp_path):
    files = [tmp_path / name for name in ("a", "b", "c")]
    for file in files:
        file.write_bytes(b"now")
    assert changed_files(files, {"a": checksum(files[0]), "b": "of another content"}) == [files[1]]
