import itertools
import re

import nibabel
import numpy as np
import pytest
import SimpleITK
import torch
from PIL import Image

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.geometry.grids import SpatialTransform
from nnunet_pix2rep.nnunet.features.extraction import FeatureExtractor
from nnunet_pix2rep.nnunet.features.prepared_images import prepare_image
from nnunet_pix2rep.nnunet.features.raw_files import check_format, write_features
from nnunet_pix2rep.nnunet.features.reference_point import most_distinct, voxel_of_point
from nnunet_pix2rep.nnunet.features.report import FeatureReport, equivariance_of_slice


@pytest.fixture
def image_file(tmp_path):
    """An image with an empty margin of 3, 4 and 5 voxels along z, y, x, away from the origin and rotated."""
    array = np.zeros((12, 32, 32), dtype=np.float32)
    array[3:, 4:, 5:] = np.random.default_rng(0).normal(5, 1, (9, 28, 27))
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((2.0, 1.0, 1.5))
    image.SetOrigin((10.0, -20.0, 30.0))
    image.SetDirection((0, 1, 0, -1, 0, 0, 0, 0, 1))
    path = tmp_path / "case_0000.nii.gz"
    SimpleITK.WriteImage(image, str(path))
    return path


@pytest.fixture
def prepared(image_file, pretraining, load):
    model = load(pretraining)
    return model, prepare_image(model, "case", [image_file])


def test_every_image_has_a_picture_and_all_share_a_basis_and_a_point(pretraining, load, folders):
    written = FeatureReport(load(pretraining), folders["images"]).write(folders["output"])
    assert {path.name for path in written} == {"case_00.png", "case_01.png", "features.json"}
    report = read_json(folders["output"] / "features.json")
    assert report["point"]["case"] == "case_00"
    assert set(report["equivariance_error"]) == {"case_00", "case_01"}
    assert all(0 < error < 4 for error in report["equivariance_error"].values())
    assert len(report["explained_variance"]) == 3
    for name in ("case_00.png", "case_01.png"):
        with Image.open(folders["output"] / name) as picture:
            assert picture.width > 1000
    with pytest.raises(UserError, match="--overwrite"):
        FeatureReport(load(pretraining), folders["images"]).write(folders["output"])
    FeatureReport(load(pretraining), folders["images"]).write(folders["output"], overwrite=True)
    assert read_json(folders["output"] / "features.json") == report


def test_the_point_of_a_3d_network_is_taken_from_the_named_image(pretraining_3d, load, folders):
    report = FeatureReport(load(pretraining_3d, "hypercolumn"), folders["images"])
    report.write(folders["output"], (10, 20, 4), "case_01")
    point = read_json(folders["output"] / "features.json")["point"]
    assert point == {"case": "case_01", "preprocessed_zyx": [4, 20, 10]}
    with pytest.raises(UserError, match="no image case_09"):
        report.write(folders["output"] / "further", (1, 1, 1), "case_09")


@pytest.mark.parametrize(("point", "message"), [((32, 5, 5), "outside of case.*32, 32, 12"), ((2, 9, 9), "margin")])
def test_a_point_where_nothing_is_gets_refused(prepared, point, message):
    model, image = prepared
    with pytest.raises(UserError, match=message):
        voxel_of_point(point, image, model, "case")


def test_a_point_is_found_again_after_cropping_and_resampling(prepared):
    """The plans' spacing is 1 mm in-plane, so the image grows along x and y keeps its size."""
    model, image = prepared
    assert image.data.shape == (1, 9, 28, 54)
    assert voxel_of_point((5, 4, 3), image, model, "case") == (0, 0, 1)
    assert voxel_of_point((31, 31, 11), image, model, "case") == (8, 27, 53)
    assert voxel_of_point((15, 24, 6), image, model, "case") == (3, 20, 21)


def test_a_point_without_a_slice_is_refused_in_3d(prepared):
    model, image = prepared
    with pytest.raises(UserError, match=r"--point 15,24 names no slice of case, which has \(32, 32, 12\) voxels"):
        voxel_of_point((15, 24), image, model, "case")


@pytest.mark.parametrize("reader", ["SimpleITKIO", "NibabelIO", "SimpleITKIOWithReorient", "NibabelIOWithReorient"])
@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SLP", "IAR"])
def test_a_point_is_counted_as_viewers_do_whatever_the_reader_turns(reader, orientation, pretraining, load, tmp_path):
    array = np.random.default_rng(0).normal(5, 1, (10, 11, 12)).astype(np.float32)
    array[3, 5, 9] = 100
    image = SimpleITK.DICOMOrient(SimpleITK.GetImageFromArray(array), orientation)
    x, y, z = np.unravel_index(SimpleITK.GetArrayFromImage(image).argmax(), image.GetSize()[::-1])[::-1]
    SimpleITK.WriteImage(image, str(tmp_path / "case_0000.nii.gz"))
    model = load(pretraining)
    model.plans_manager.plans["image_reader_writer"] = reader
    prepared = prepare_image(model, "case", [tmp_path / "case_0000.nii.gz"])
    voxel = voxel_of_point((int(x), int(y), int(z)), prepared, model, "case")
    assert voxel == np.unravel_index(prepared.data[0].argmax(), prepared.data.shape[1:])
    outside = [int(x), int(y), int(z)]
    outside[1] = image.GetSize()[1]
    with pytest.raises(UserError, match=re.escape(f"which has {image.GetSize()} voxels")):
        voxel_of_point(outside, prepared, model, "case")


def test_the_equivariance_error_of_a_network_is_zero_for_the_identity(prepared):
    model, image = prepared
    report = FeatureReport.__new__(FeatureReport)
    report.extractor = FeatureExtractor(model)
    features = report._slice_features(image.data, 4)
    identity = SpatialTransform(torch.eye(2), torch.zeros(2))
    error = equivariance_of_slice(report._slice_features, image.data, 4, features, identity)
    assert error.shape == image.data.shape[2:]
    assert float(error.max()) < 1e-4
    turned = SpatialTransform(torch.tensor([[0.8, -0.6], [0.6, 0.8]]), torch.zeros(2))
    error = equivariance_of_slice(report._slice_features, image.data, 4, features, turned)
    assert float(error.nanmean()) > 0.01


def test_the_most_distinct_pixel_is_in_the_middle():
    features = torch.tensor([1.0, 0.0]).repeat(8 * 8, 1)
    features[0] = torch.tensor([-1.0, 0.0])  # a corner is out of the question
    features[3 * 8 + 4] = torch.tensor([0.0, 1.0])
    assert most_distinct(features, (8, 8)) == (3, 4)


def test_features_in_npz_are_those_of_the_network(prepared, image_file, tmp_path):
    model, image = prepared
    extractor = FeatureExtractor(model)
    write_features(extractor, model, image, "npz", tmp_path / "features.npz")
    with np.load(tmp_path / "features.npz") as content:
        assert content["features"].shape == (8, 9, 28, 54)
        np.testing.assert_allclose(content["spacing"], (1.5, 1, 1))
        assert content["bbox_used_for_cropping"].tolist() == [[3, 12], [4, 32], [5, 32]]
        voxel = np.array([[4, 9, 30]])
        np.testing.assert_allclose(
            content["features"][:, 4, 9, 30], extractor.features_at(image.data, voxel)[0].numpy(), rtol=2e-3, atol=1e-3
        )


class Passing:
    """The preprocessed image itself stands in for the features, in two channels."""

    def blocks(self, data):
        yield slice(0, data.shape[1]), torch.from_numpy(data).flatten(1).repeat(2, 1).T


def test_features_in_nifti_lie_where_the_image_lies(prepared, image_file, tmp_path):
    """The corner of the features must be that of the cropped raw image."""
    model, image = prepared
    write_features(Passing(), model, image, "nifti", tmp_path / "features.nii.gz")
    features, raw = SimpleITK.ReadImage(str(tmp_path / "features.nii.gz")), SimpleITK.ReadImage(str(image_file))
    assert features.GetSize() == (54, 28, 9, 2)
    volume = features[:, :, :, 0]
    for corner, raw_corner in (((-0.5, -0.5, -0.5), (4.5, 3.5, 2.5)), ((53.5, 27.5, 8.5), (31.5, 31.5, 11.5))):
        np.testing.assert_allclose(
            volume.TransformContinuousIndexToPhysicalPoint(corner),
            raw.TransformContinuousIndexToPhysicalPoint(raw_corner),
            atol=1e-4,
        )
    back = SimpleITK.GetArrayFromImage(SimpleITK.Resample(raw, volume, SimpleITK.Transform(), SimpleITK.sitkLinear))
    inner = (slice(1, -1), slice(1, -1), slice(2, -2))
    correlation = np.corrcoef(back[inner].ravel(), SimpleITK.GetArrayFromImage(volume)[inner].ravel())[0, 1]
    assert correlation > 0.9


def test_nifti_is_refused_where_the_geometry_is_not_known(pretraining, load):
    model = load(pretraining)
    check_format(model, "nifti")
    model.dataset_json["file_ending"] = ".png"
    check_format(model, "npz")
    with pytest.raises(UserError, match="--raw npz"):
        check_format(model, "nifti")


@pytest.mark.parametrize("reader", ["NibabelIO", "NibabelIOWithReorient"])
def test_features_in_nifti_lie_where_nnunets_nibabel_readers_see_the_image(reader, pretraining, load, tmp_path):
    """Also where an affine has shear, which ITK refuses."""
    values = np.zeros((32, 32, 12), dtype=np.float32)
    values[5:, 4:, 3:] = np.random.default_rng(0).normal(5, 1, (27, 28, 9))
    affine = np.array([[0, -1.2, 0, 10], [1.5, 0.15, 0, -20], [0, 0, 2, 30], [0, 0, 0, 1.0]])
    path = tmp_path / "case_0000.nii.gz"
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    model = load(pretraining)
    model.plans_manager.plans["image_reader_writer"] = reader
    check_format(model, "nifti")
    image = prepare_image(model, "case", [path])
    write_features(Passing(), model, image, "nifti", tmp_path / "features.nii.gz")
    volume = nibabel.load(tmp_path / "features.nii.gz")
    shape = volume.shape[:3]
    found = nibabel.affines.apply_affine(
        volume.affine, np.array(list(itertools.product(*((-0.5, size - 0.5) for size in shape))))
    )
    wanted = nibabel.affines.apply_affine(
        affine, np.array(list(itertools.product((4.5, 31.5), (3.5, 31.5), (2.5, 11.5))))
    )
    np.testing.assert_allclose(sorted(found.tolist()), sorted(wanted.tolist()), atol=1e-3)
