import errno
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from full_disk import no_file_beyond

import nnunet_pix2rep
from nnunet_pix2rep.files import atomic_path
from nnunet_pix2rep.nnunet.data.volume_writer import require_whole, write_image

VOXELS = np.random.default_rng(0).integers(0, 200, (6, 60, 60), dtype=np.uint8)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz"])
@pytest.mark.parametrize("num_bytes", [100, 5000])
def test_an_image_that_ends_early_is_an_error_and_leaves_what_was_there(tmp_path, ending, num_bytes):
    file = tmp_path / f"label{ending}"
    file.write_bytes(b"the drawing of an hour")
    image = SimpleITK.GetImageFromArray(VOXELS)

    def write():
        with atomic_path(file) as temporary:
            write_image(image, temporary, file)

    with no_file_beyond(num_bytes), pytest.raises(OSError, match="No space left") as raised:
        write()
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == str(file)
    assert file.read_bytes() == b"the drawing of an hour"
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("compress", [True, False])
def test_a_whole_image_passes(tmp_path, ending, compress):
    file = tmp_path / f"label{ending}"
    write_image(SimpleITK.GetImageFromArray(VOXELS), file, compress=compress)
    assert np.array_equal(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))), VOXELS)


def test_voxels_that_are_no_numbers_do_not_make_a_file_incomplete(tmp_path):
    write_image(SimpleITK.GetImageFromArray(np.full((2, 3, 4), np.nan, np.float32)), tmp_path / "nan.nii.gz")


def test_a_file_of_another_format_is_left_to_its_writer(tmp_path):
    file = tmp_path / "label.png"
    file.write_bytes(b"whatever")
    require_whole(file)


def test_no_other_module_writes_with_itk():
    """Elsewhere a full disk would go unnoticed."""
    package = Path(nnunet_pix2rep.__file__).parent
    writers = [path.relative_to(package) for path in package.rglob("*.py") if "WriteImage(" in path.read_text("utf-8")]
    assert [path.name for path in writers] == ["volume_writer.py"]
