import numpy as np
import pytest
import SimpleITK
from full_disk import no_file_beyond

from nnunet_pix2rep.annotation.label_files import LabelFiles, labels_to_draw_in, require_ignore_label
from nnunet_pix2rep.errors import UserError

LABELS = {"background": 0, "a": 1, "b": 2, "ignore": 3}
OBLIQUE = (0.8, 0.6, 0.0, -0.6, 0.8, 0.0, 0.0, 0.0, -1.0)


def dataset_json(ending, **more):
    return {"file_ending": ending, "labels": LABELS, "channel_names": {"0": "MRI"}} | more


def test_everything_is_ignored_but_the_chosen_slices():
    labels = labels_to_draw_in((4, 5, 6), 1, [0, 3], 3)
    assert np.unique(labels[:, [0, 3]]).tolist() == [0]
    assert np.unique(labels[:, [1, 2, 4]]).tolist() == [3]


def test_what_is_annotated_stays():
    existing = np.full((4, 5, 6), 3)
    existing[1] = 0
    existing[1, 2, 2:4] = 2
    existing[2, 0, 0] = 1  # a slice of which only a voxel is annotated
    labels = labels_to_draw_in((4, 5, 6), 0, [2], 3, existing)
    assert np.array_equal(labels[1], existing[1])
    assert labels[2, 0, 0] == 1
    assert labels[2].sum() == 1
    assert np.unique(labels[[0, 3]]).tolist() == [3]


@pytest.mark.parametrize(
    ("ending", "reader"),
    [
        (".nii.gz", None),
        (".nrrd", None),
        (".mha", None),
        (".nii.gz", "NibabelIO"),
        (".nii.gz", "NibabelIOWithReorient"),
    ],
)
def test_labels_lie_on_the_grid_of_an_oblique_image(tmp_path, ending, reader):
    image = SimpleITK.GetImageFromArray(np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32))
    image.SetSpacing((1.5, 1.25, 8.0))
    image.SetOrigin((10.5, -20.25, 3.0))
    image.SetDirection(OBLIQUE)
    SimpleITK.WriteImage(image, str(tmp_path / f"case_0000{ending}"))
    files = LabelFiles(dataset_json(ending), reader)
    geometry = files.geometry([tmp_path / f"case_0000{ending}"])
    labels = labels_to_draw_in(geometry.shape, 0, [2], 3)
    files.write(labels, tmp_path / "labels" / f"case{ending}", geometry.properties)
    assert np.array_equal(files.read(tmp_path / "labels" / f"case{ending}").labels, labels)
    written = SimpleITK.ReadImage(str(tmp_path / "labels" / f"case{ending}"))
    assert written.GetSize() == image.GetSize()
    for kind in ("Spacing", "Origin", "Direction"):
        np.testing.assert_allclose(getattr(written, f"Get{kind}")(), getattr(image, f"Get{kind}")(), atol=1e-4)
    assert [path.name for path in (tmp_path / "labels").iterdir()] == [f"case{ending}"]


def test_a_picture_has_one_slice(tmp_path):
    SimpleITK.WriteImage(SimpleITK.Image(7, 5, SimpleITK.sitkUInt8), str(tmp_path / "case_0000.png"))
    files = LabelFiles(dataset_json(".png"))
    geometry = files.geometry([tmp_path / "case_0000.png"])
    assert geometry.shape == (1, 5, 7)
    files.write(labels_to_draw_in(geometry.shape, 0, [0], 3), tmp_path / "case.png", geometry.properties)
    assert np.unique(files.read(tmp_path / "case.png").labels).tolist() == [0]


def test_a_3d_tiff_brings_its_spacing(tmp_path):
    files = LabelFiles(dataset_json(".tiff"))
    files.write(np.ones((2, 3, 4), dtype=int), tmp_path / "case.tiff", {"spacing": (5.0, 1.0, 1.0)})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["case.json", "case.tiff"]
    assert files.read(tmp_path / "case.tiff").properties["spacing"] == [5.0, 1.0, 1.0]


def test_bad_files_are_named(tmp_path):
    files = LabelFiles(dataset_json(".nii.gz"))
    with pytest.raises(UserError, match=r"case\.nii\.gz does not exist"):
        files.read(tmp_path / "case.nii.gz")
    SimpleITK.WriteImage(SimpleITK.Image(4, 4, 4, SimpleITK.sitkFloat32) + 0.5, str(tmp_path / "half.nii.gz"))
    with pytest.raises(UserError, match="no integers"):
        files.read(tmp_path / "half.nii.gz")
    content = (tmp_path / "half.nii.gz").read_bytes()
    (tmp_path / "cut.nii.gz").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"cut\.nii\.gz.*truncated"):
        files.read(tmp_path / "cut.nii.gz")
    (tmp_path / "text.nrrd").write_text("hello")
    with pytest.raises(UserError, match=r"text\.nrrd cannot be read"):
        LabelFiles(dataset_json(".nrrd")).read(tmp_path / "text.nrrd")


def test_a_dataset_without_ignore_label_is_told_what_to_add(tmp_path):
    assert require_ignore_label({"labels": LABELS}, tmp_path) == 3
    with pytest.raises(UserError, match='"ignore": 3'):
        require_ignore_label({"labels": {"background": 0, "whole": [1, 2], "core": 2}}, tmp_path)


def test_a_full_disk_leaves_the_label_file_that_was_there(tmp_path):
    """ITK's NIfTI writer reports none: the file would end early and be read as if zeros followed."""
    files = LabelFiles(dataset_json(".nii.gz"))
    image = SimpleITK.GetImageFromArray(np.zeros((6, 60, 60), np.float32))
    SimpleITK.WriteImage(image, str(tmp_path / "case_0000.nii.gz"))
    properties = files.geometry([tmp_path / "case_0000.nii.gz"]).properties
    labels = np.random.default_rng(0).integers(0, 3, (6, 60, 60))
    file = tmp_path / "labels" / "case.nii.gz"
    files.write(labels, file, properties)
    with no_file_beyond(2000), pytest.raises(OSError, match="No space left"):
        files.write(labels[::-1], file, properties)
    assert np.array_equal(files.read(file).labels, labels)
    assert list(file.parent.iterdir()) == [file]
