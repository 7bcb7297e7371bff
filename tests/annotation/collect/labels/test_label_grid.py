"""Geometry: what viewers do to headers, and what no longer fits."""

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image

from nnunet_pix2rep.annotation.collect.labels.grid import read_labels_on_grid
from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.errors import UserError

SIZE = (7, 6, 5)  # x, y, z
LABELS = np.random.default_rng(0).integers(0, 4, SIZE[::-1]).astype(np.uint8)


def rotation(*degrees):
    x, y, z = np.deg2rad(degrees)
    matrices = (
        [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]],
        [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]],
        [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]],
    )
    return np.linalg.multi_dot([np.array(matrix) for matrix in matrices])


DIRECTIONS = {
    "straight": np.eye(3),
    "oblique": rotation(10, 20, 30),
    "turned": np.array([[0, 0, -1], [1, 0, 0], [0, -1, 0]]) @ rotation(4, 3, 2),
    "mirrored": np.diag([-1, -1, 1]),
}


@pytest.fixture(params=DIRECTIONS)
def image_file(request, tmp_path):
    image = SimpleITK.GetImageFromArray(np.random.default_rng(1).normal(size=SIZE[::-1]).astype(np.float32))
    image.SetSpacing((1.25, 1.5, 8.0))
    image.SetOrigin((-40.5, 17.25, 103.0))
    image.SetDirection(DIRECTIONS[request.param].ravel().tolist())
    path = tmp_path / "case_0000.nii.gz"
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.fixture
def label(image_file):
    made = SimpleITK.GetImageFromArray(LABELS)
    made.CopyInformation(SimpleITK.ReadImage(str(image_file)))
    return made


def reader(ending=".nii.gz", name=None):
    return LabelFiles({"file_ending": ending, "labels": {"background": 0, "a": 1, "b": 2, "ignore": 3}}, name)


def read(label, image_file, name="case.nii.gz"):
    path = image_file.parent / name
    SimpleITK.WriteImage(label, str(path))
    return read_labels_on_grid(path, [image_file], reader()).labels


@pytest.mark.parametrize("name", ["case.nii.gz", "case.nii", "case.nrrd", "case.mha"])
@pytest.mark.parametrize("pixel", ["UInt8", "Int32", "Float32", "Float64"])
def test_formats_and_types_of_viewers(label, image_file, name, pixel):
    label = SimpleITK.Cast(label, getattr(SimpleITK, f"sitk{pixel}"))
    np.testing.assert_array_equal(read(label, image_file, name), LABELS)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.float64])
def test_nibabels_header(image_file, dtype):
    """nibabel writes NIfTI's sform alone; ITK wrote both transforms."""
    affine = nibabel.load(image_file).affine
    path = image_file.parent / "case.nii.gz"
    nibabel.save(nibabel.Nifti1Image(LABELS.transpose(2, 1, 0).astype(dtype), affine), path)
    assert nibabel.load(path).header["qform_code"] == 0
    np.testing.assert_array_equal(read_labels_on_grid(path, [image_file], reader()).labels, LABELS)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16])
@pytest.mark.parametrize("highest", [4, 6, 14])
def test_numbers_that_nibabel_has_scaled_are_taken(label, image_file, dtype, highest):
    """Floating-point voxels under the header that they were read with: the common way to change a file."""
    path = image_file.parent / "case.nii.gz"
    drawn = np.where(LABELS == 3, highest, LABELS).astype(dtype)
    scaled = SimpleITK.GetImageFromArray(drawn)
    scaled.CopyInformation(label)
    SimpleITK.WriteImage(scaled, str(path))
    read_before = nibabel.load(path)
    nibabel.save(nibabel.Nifti1Image(read_before.get_fdata(), read_before.affine, read_before.header), path)
    assert (SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) != drawn).any()
    np.testing.assert_array_equal(read_labels_on_grid(path, [image_file], reader()).labels, drawn)


def test_blurred_edges_in_a_scaled_file_are_refused(label, image_file):
    path = image_file.parent / "case.nii.gz"
    SimpleITK.WriteImage(label, str(path))
    read_before = nibabel.load(path)
    blurred = np.where(read_before.get_fdata() == 2, 1.9, read_before.get_fdata())
    nibabel.save(nibabel.Nifti1Image(blurred, read_before.affine, read_before.header), path)
    with pytest.raises(UserError, match="no integers"):
        read_labels_on_grid(path, [image_file], reader())


def test_axes_in_another_order_are_put_back(label, image_file):
    path = image_file.parent / "case.nii.gz"
    SimpleITK.WriteImage(label, str(path))
    canonical = nibabel.as_closest_canonical(nibabel.load(path))
    nibabel.save(canonical, path)
    np.testing.assert_array_equal(read_labels_on_grid(path, [image_file], reader()).labels, LABELS)


def test_rounding_of_the_header_is_accepted(label, image_file):
    label.SetOrigin(np.round(label.GetOrigin(), 2).tolist())
    label.SetSpacing(np.multiply(label.GetSpacing(), 1 + 1e-5).tolist())
    np.testing.assert_array_equal(read(label, image_file), LABELS)


def turned(direction):
    return (rotation(0, 0, 12) @ np.reshape(direction, (3, 3))).ravel().tolist()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda label: label.SetSpacing((1.25, 1.5, 7.0)), r"spacing \(1.25, 1.5, 7.0\) instead of \(1.25, 1.5, 8.0\)"),
        (lambda label: label.SetOrigin((-40.5, 17.25, 104.0)), r"origin .* instead of \(-40.5, 17.25, 103.0\)"),
        (
            lambda label: label.SetDirection((rotation(0, 0, 12) @ np.reshape(label.GetDirection(), (3, 3))).ravel()),
            "direction",
        ),
    ],
)
def test_another_geometry_is_named(label, image_file, change, message):
    change(label)
    with pytest.raises(UserError, match=message):
        read(label, image_file)


def test_a_lost_geometry_is_refused(image_file):
    with pytest.raises(UserError, match=r"its geometry no longer fits its image|voxels, its image 7 x 6 x 5"):
        read(SimpleITK.GetImageFromArray(LABELS), image_file)


def test_another_size_is_refused(label, image_file):
    with pytest.raises(UserError, match="it has 7 x 6 x 4 voxels, its image 7 x 6 x 5"):
        read(label[:, :, :4], image_file)


def test_values_that_are_no_labels(label, image_file):
    with pytest.raises(UserError, match="no integers"):
        read(SimpleITK.Cast(label, SimpleITK.sitkFloat32) * 0.5, image_file)
    with pytest.raises(UserError, match="from -2 to 1"):
        read(SimpleITK.Cast(label, SimpleITK.sitkInt16) - 2, image_file)
    not_a_number = SimpleITK.GetImageFromArray(np.full(LABELS.shape, np.nan, dtype=np.float32))
    not_a_number.CopyInformation(label)
    with pytest.raises(UserError, match="no integers"):
        read(not_a_number, image_file, "case.nrrd")  # ITK reads NaN from NIfTI as 0


def test_layers_of_a_segmentation(label, image_file):
    same = SimpleITK.Compose(label, label, label)
    np.testing.assert_array_equal(read(same, image_file, "case.nrrd"), LABELS)
    for layers in ([label, label * 0], [label, label, label, label * 0]):
        with pytest.raises(UserError, match="several layers"):
            read(SimpleITK.Compose(layers), image_file, "case.seg.nrrd")


@pytest.mark.parametrize("name", ["case.nii.gz", "case.nii", "case.nrrd"])
def test_half_written_files(label, image_file, name):
    path = image_file.parent / name
    SimpleITK.WriteImage(label, str(path))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(UserError, match=r"truncated|cannot be read"):
        read_labels_on_grid(path, [image_file], reader())


@pytest.mark.parametrize("label_name", ["case.png", "case.nii.gz"])
def test_2d_images_have_one_slice(tmp_path, label_name):
    pixels = np.random.default_rng(0).integers(0, 3, (5, 7)).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels * 40), str(tmp_path / "case_0000.png"))
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels), str(tmp_path / label_name))
    read = read_labels_on_grid(tmp_path / label_name, [tmp_path / "case_0000.png"], reader(".png")).labels
    np.testing.assert_array_equal(read, pixels[None])


def test_a_gray_drawing_saved_in_colors(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 3, (5, 7)).astype(np.uint8)
    gray = SimpleITK.GetImageFromArray(pixels)
    SimpleITK.WriteImage(gray, str(tmp_path / "case_0000.png"))
    SimpleITK.WriteImage(SimpleITK.Compose(gray, gray, gray), str(tmp_path / "case.png"))
    read = read_labels_on_grid(tmp_path / "case.png", [tmp_path / "case_0000.png"], reader(".png")).labels
    np.testing.assert_array_equal(read, pixels[None])


def test_a_transparent_drawing_is_refused(tmp_path):
    """An eraser may make pixels transparent and leave their numbers."""
    pixels = np.random.default_rng(0).integers(0, 3, (5, 7)).astype(np.uint8)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(pixels), str(tmp_path / "case_0000.png"))
    opaque = np.full_like(pixels, 255)
    erased = np.where(pixels == 2, 0, opaque).astype(np.uint8)
    for alpha in (opaque, erased):
        Image.fromarray(np.stack([pixels, pixels, pixels, alpha], axis=-1)).save(tmp_path / f"{alpha.min()}.png")
    read = read_labels_on_grid(tmp_path / "255.png", [tmp_path / "case_0000.png"], reader(".png")).labels
    np.testing.assert_array_equal(read, pixels[None])
    with pytest.raises(UserError, match="transparent in places"):
        read_labels_on_grid(tmp_path / "0.png", [tmp_path / "case_0000.png"], reader(".png"))


def test_a_2d_image_whose_label_was_saved_as_one_slice(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 3, (5, 7)).astype(np.uint8)
    image = SimpleITK.GetImageFromArray(pixels.astype(np.float32))
    image.SetSpacing((1.25, 1.5))
    image.SetOrigin((-40.5, 17.25))
    image_file, label_file = tmp_path / "case_0000.nii.gz", tmp_path / "case.nii.gz"
    SimpleITK.WriteImage(image, str(image_file))
    label = SimpleITK.GetImageFromArray(pixels[None])
    label.SetSpacing((1.25, 1.5, 4.0))
    label.SetOrigin((-40.5, 17.25, 9.0))
    SimpleITK.WriteImage(label, str(label_file))
    np.testing.assert_array_equal(read_labels_on_grid(label_file, [image_file], reader()).labels, pixels[None])
    label.SetOrigin((-40.5, 27.25, 9.0))
    SimpleITK.WriteImage(label, str(label_file))
    with pytest.raises(UserError, match=r"origin \(-40.5, 27.25\) instead of \(-40.5, 17.25\)"):
        read_labels_on_grid(label_file, [image_file], reader())
    label.SetDirection((1, 0, 0, 0, 0, -1, 0, 1, 0))
    SimpleITK.WriteImage(label, str(label_file))
    with pytest.raises(UserError, match="turned out of the plane"):
        read_labels_on_grid(label_file, [image_file], reader())
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(np.stack([pixels, pixels])), str(label_file))
    with pytest.raises(UserError, match="it has 7 x 5 x 2 voxels, its image 7 x 5"):
        read_labels_on_grid(label_file, [image_file], reader())


@pytest.mark.parametrize("added", [-1, 65536])
def test_numbers_that_only_look_like_labels_when_cast(tmp_path, added):
    tifffile.imwrite(tmp_path / "case_0000.tif", LABELS.astype(np.float32))
    tifffile.imwrite(tmp_path / "case.tif", LABELS.astype(np.int32) + added)
    read = read_labels_on_grid(tmp_path / "case_0000.tif", [tmp_path / "case_0000.tif"], reader(".tif", "Tiff3DIO"))
    np.testing.assert_array_equal(read.labels, LABELS)
    with pytest.raises(UserError, match=rf"^it has values from {added:g} to {added + 3:g}, which are no labels"):
        read_labels_on_grid(tmp_path / "case.tif", [tmp_path / "case_0000.tif"], reader(".tif", "Tiff3DIO"))
