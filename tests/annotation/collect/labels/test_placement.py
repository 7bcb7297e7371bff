"""NIfTI images that programs read in two ways: what is drawn over a voxel stays on this voxel."""

import nibabel
import numpy as np
import pytest
import SimpleITK

from nnunet_pix2rep.annotation.collect.labels.grid import read_labels_on_grid
from nnunet_pix2rep.annotation.collect.labels.placement import TWO_PLACES
from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.errors import UserError

LABELS = np.random.default_rng(0).integers(0, 4, (7, 6, 5)).astype(np.uint8)  # x, y, z
READERS = ["SimpleITKIO", "NibabelIO", "NibabelIOWithReorient"]
NIBABEL_READERS = READERS[1:]


def affine(turn=0.0, *, mirrored=False):
    """Voxels of 1.5 x 1.5 x 8 mm, turned around z, or the same box with x the other way round."""
    cos, sin = np.cos(np.deg2rad(turn)), np.sin(np.deg2rad(turn))
    made = np.diag([1.5, 1.5, 8.0, 1.0])
    made[:3, 3] = 1, 2, 3
    if mirrored:
        made[0, 0], made[0, 3] = -1.5, 1 + 6 * 1.5
    return np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ made


TWO_TRANSFORMS = {"mirrored": (affine(mirrored=True), affine()), "turned": (affine(turn=6), affine())}


@pytest.fixture(params=TWO_TRANSFORMS)
def image_file(request, tmp_path):
    """Its voxels are the labels, so that a label is in its place where it equals the image."""
    return write_image(tmp_path, *TWO_TRANSFORMS[request.param])


def write_image(folder, qform, sform):
    image = nibabel.Nifti1Image(LABELS.astype(np.float32), sform)
    image.set_sform(sform, 2)
    image.set_qform(qform, 1)
    nibabel.save(image, folder / "case_0000.nii.gz")
    return folder / "case_0000.nii.gz"


def label_files(reader_name):
    return LabelFiles({"file_ending": ".nii.gz", "labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}, reader_name)


def check(label_file, image_file, reader_name, notes=()):
    """Checks that the labels lie on the voxels of the image."""
    files = label_files(reader_name)
    read = read_labels_on_grid(label_file, [image_file], files)
    np.testing.assert_array_equal(read.labels, files.read_image([image_file])[0][0])
    assert read.notes == list(notes)


def written_as_suggest_does(image_file, reader_name):
    files = label_files(reader_name)
    image, properties = files.read_image([image_file])
    file = image_file.parent / "case.nii.gz"
    files.write(image[0].astype(np.int64), file, properties)
    return file


@pytest.mark.parametrize("reader_name", READERS)
def test_files_of_suggest_come_back_voxel_for_voxel(image_file, reader_name):
    file = written_as_suggest_does(image_file, reader_name)
    check(file, image_file, reader_name, notes=[TWO_PLACES] if reader_name in NIBABEL_READERS else [])


@pytest.mark.parametrize("name", ["case.nii.gz", "case.nrrd"])
@pytest.mark.parametrize("reader_name", READERS)
def test_files_of_itks_viewers(image_file, reader_name, name):
    """They show the image where ITK reads it, and save the labels there."""
    label = SimpleITK.GetImageFromArray(LABELS.T)
    label.CopyInformation(SimpleITK.ReadImage(str(image_file)))
    SimpleITK.WriteImage(label, str(image_file.parent / name))
    check(image_file.parent / name, image_file, reader_name)


@pytest.mark.parametrize("reader_name", READERS)
def test_files_of_nibabel(image_file, reader_name):
    image, file = nibabel.load(image_file), image_file.parent / "case.nii.gz"
    nibabel.save(nibabel.Nifti1Image(LABELS, image.affine), file)
    check(file, image_file, reader_name, notes=[TWO_PLACES])
    header = image.header.copy()
    header.set_data_dtype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(LABELS, None, header), file)  # both transforms
    check(file, image_file, reader_name)


@pytest.mark.parametrize("reader_name", NIBABEL_READERS)
def test_a_file_of_suggest_in_another_format(image_file, reader_name):
    """3D Slicer saves as NRRD where the label file lay."""
    label = SimpleITK.ReadImage(str(written_as_suggest_does(image_file, reader_name)))
    SimpleITK.WriteImage(label, str(image_file.parent / "case.seg.nrrd"))
    check(image_file.parent / "case.seg.nrrd", image_file, reader_name, notes=[TWO_PLACES])


@pytest.mark.parametrize("reader_name", READERS)
def test_axes_the_other_way_round_are_no_longer_put_back(tmp_path, reader_name):
    """They would fit both transforms of the image, in two ways."""
    image_file, file = write_image(tmp_path, *TWO_TRANSFORMS["mirrored"]), tmp_path / "case.nii.gz"
    label = nibabel.Nifti1Image(LABELS, nibabel.load(image_file).affine)
    nibabel.save(label.as_reoriented(np.array([[0, 1], [1, -1], [2, 1]])), file)
    with pytest.raises(UserError, match="qform and sform"):
        read_labels_on_grid(file, [image_file], label_files(reader_name))


@pytest.mark.parametrize("reader_name", READERS)
def test_axes_in_another_order_are_put_back_where_transforms_agree(tmp_path, reader_name):
    image_file, file = write_image(tmp_path, affine(turn=6), affine(turn=6)), tmp_path / "case.nii.gz"
    label = nibabel.Nifti1Image(LABELS, affine(turn=6))
    nibabel.save(label.as_reoriented(np.array([[2, 1], [1, -1], [0, 1]])), file)
    check(file, image_file, reader_name)


@pytest.fixture
def sheared_file(tmp_path):
    """nibabel reads such images, ITK does not."""
    sheared = affine()
    sheared[0, 1] = 0.4
    nibabel.save(nibabel.Nifti1Image(LABELS.astype(np.float32), sheared), tmp_path / "case_0000.nii.gz")
    return tmp_path / "case_0000.nii.gz"


@pytest.mark.parametrize("reader_name", NIBABEL_READERS)
def test_labels_of_a_sheared_image(sheared_file, reader_name):
    file = written_as_suggest_does(sheared_file, reader_name)
    check(file, sheared_file, reader_name)
    read = nibabel.load(file)
    nibabel.save(nibabel.Nifti1Image(read.get_fdata(), read.affine, read.header), file)  # nibabel scales them
    check(file, sheared_file, reader_name)


@pytest.mark.parametrize("reader_name", NIBABEL_READERS)
def test_labels_that_cannot_be_compared_with_a_sheared_image(sheared_file, reader_name):
    files, straight = label_files(reader_name), sheared_file.parent / "case.nrrd"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(LABELS.T), str(straight))
    with pytest.raises(UserError, match=r"cannot read its image .*: save it as NIfTI with the geometry of the image"):
        read_labels_on_grid(straight, [sheared_file], files)
    moved, file = nibabel.load(sheared_file).affine.copy(), sheared_file.parent / "case.nii.gz"
    moved[2, 3] += 8
    nibabel.save(nibabel.Nifti1Image(LABELS, moved), file)
    with pytest.raises(UserError, match="it cannot be read"):
        read_labels_on_grid(file, [sheared_file], files)
