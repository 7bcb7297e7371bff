import numpy as np
import pytest
import SimpleITK

from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.annotation.suggest.output.viewers import ViewerPlace, upright, viewer_places

DATASET_JSON = {"file_ending": ".nii.gz", "labels": {"background": 0, "a": 1, "ignore": 2}}
REORIENTED = (0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0)  # the file's axes point to back, foot and left


@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO", "NibabelIOWithReorient"])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_slice_is_where_viewers_are_told_to_look(tmp_path, reader, axis):
    """Viewers count voxels in the file, whatever nnU-Net's reader turns round."""
    image = SimpleITK.GetImageFromArray(np.random.default_rng(0).normal(size=(4, 5, 6)).astype(np.float32))
    image.SetDirection(REORIENTED)
    file = tmp_path / "case_0000.nii.gz"
    SimpleITK.WriteImage(image, str(file))
    files = LabelFiles(DATASET_JSON, reader)
    volume, _ = files.read_image([file])
    in_file = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
    places = viewer_places(files, files.geometry([file]), axis)
    assert len(places) == volume.shape[axis + 1]
    for index, place in enumerate(places):
        seen = np.take(in_file, place.index, axis="zyx".index(place.axis))
        assert np.allclose(np.sort(seen.ravel()), np.sort(np.take(volume[0], index, axis=axis).ravel()), atol=1e-5)


@pytest.mark.parametrize(("ending", "reader"), [(".png", "NaturalImage2DIO"), (".nii.gz", "SimpleITKIO")])
def test_a_2d_image_has_no_axis_across_which_a_viewer_could_go(tmp_path, ending, reader):
    image = SimpleITK.Image(7, 5, SimpleITK.sitkUInt8)
    image.SetSpacing((0.5, 1.5))
    SimpleITK.WriteImage(image, str(tmp_path / f"case_0000{ending}"))
    files = LabelFiles(DATASET_JSON | {"file_ending": ending}, reader)
    assert viewer_places(files, files.geometry([tmp_path / f"case_0000{ending}"]), 0) == [None]


def test_a_volume_of_one_slice_has_an_axis(tmp_path):
    image = SimpleITK.Image(7, 5, 1, SimpleITK.sitkUInt8)
    image.SetSpacing((0.5, 1.5, 30))
    SimpleITK.WriteImage(image, str(tmp_path / "case_0000.nii.gz"))
    files = LabelFiles(DATASET_JSON, "SimpleITKIO")
    assert viewer_places(files, files.geometry([tmp_path / "case_0000.nii.gz"]), 0) == [ViewerPlace("z", 0)]


def test_left_is_right_and_the_head_is_up():
    """A voxel in the left, front and upper corner of the patient."""
    for signs in np.ndindex(2, 2, 2):
        volume = np.zeros((4, 5, 6))
        corner = [0 if sign else -1 for sign in signs]  # along x, y, z, at the end where left, back and head are
        volume[corner[2], 0 if corner[1] == -1 else -1, corner[0]] = 1
        direction = np.diag([-1.0 if sign else 1.0 for sign in signs]).ravel().tolist()
        properties = {"sitk_stuff": {"direction": direction}}
        axial = upright(volume[corner[2]], 0, properties)
        assert axial[0, -1] == 1
        coronal = upright(volume[:, 0 if corner[1] == -1 else -1], 1, properties)
        assert coronal[0, -1] == 1


def test_a_picture_stays_as_it_is():
    plane = np.arange(6).reshape(2, 3)
    assert np.array_equal(upright(plane, 0, {}), plane)
