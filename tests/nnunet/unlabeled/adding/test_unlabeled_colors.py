"""Natural images with alpha, planar TIFF, 3D TIFF with its sidecar, and NaN in NIfTI."""

import nibabel
import numpy as np
import pytest
import SimpleITK
import tifffile
from PIL import Image
from planned_dataset import DATASET, environment_of
from unlabeled_dataset import make_raw, run, volume, write

from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.data.dataset_reader import DatasetReader
from nnunet_pix2rep.nnunet.unlabeled.adding.add import add_unlabeled

PIXELS = np.random.default_rng(0).integers(0, 255, (20, 24, 4), dtype=np.uint8)


def make(tmp_path, channels, ending=".png"):
    def picture(seed):
        values = np.random.default_rng(seed).integers(0, 255, (20, 24, channels), dtype=np.uint8)
        return SimpleITK.GetImageFromArray(values[..., 0] if channels == 1 else values, isVector=channels > 1)

    raw = make_raw(tmp_path, ending, 1, picture)
    names = {str(index): f"c{index}" for index in range(channels)}
    write_json(read_json(raw / "dataset.json") | {"channel_names": names}, raw / "dataset.json")
    return raw


def with_alpha(values, alpha):
    return np.concatenate([values, np.full_like(values[..., :1], alpha)], axis=-1)


def pixels_of(raw, name):
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(raw / "imagesUn" / f"{name}_0000.png")))


@pytest.mark.parametrize("channels", [1, 3])
def test_an_opaque_alpha_is_dropped_and_another_is_named(tmp_path, source, channels):
    with environment_of(tmp_path):
        raw = make(tmp_path, channels)
        source.mkdir()
        colors, mode = PIXELS[..., :channels], "LA" if channels == 1 else "RGBA"
        for name, alpha in (("opaque", 255), ("transparent", 200)):
            Image.fromarray(with_alpha(colors, alpha), mode).save(source / f"{name}.png")
        report = add_unlabeled(DATASET, source)
    assert report.added == {"opaque.png": "opaque"}
    assert np.array_equal(pixels_of(raw, "opaque").reshape(colors.shape), colors)
    assert report.problems["transparent.png"].startswith("its alpha channel is not opaque")


def test_alpha_stays_where_it_is_one_of_the_channels(tmp_path, source):
    with environment_of(tmp_path):
        raw = make(tmp_path, 4)
        source.mkdir()
        Image.fromarray(PIXELS, "RGBA").save(source / "a.png")
        assert add_unlabeled(DATASET, source).problems == {}
    assert np.array_equal(pixels_of(raw, "a"), PIXELS)


@pytest.mark.parametrize("ending", [".png", ".tif"])
def test_planes_of_colors_in_a_tiff(tmp_path, source, ending):
    with environment_of(tmp_path):
        raw = make(tmp_path, 3, ending)
        source.mkdir()
        planes = np.moveaxis(PIXELS[..., :3], -1, 0)
        tifffile.imwrite(source / "planar.tif", planes, photometric="rgb", planarconfig="separate")
        report = add_unlabeled(DATASET, source)
    assert report.added == {"planar.tif": "planar"}, report.problems
    seen = DatasetReader({"file_ending": ending}).read([raw / "imagesUn" / f"planar_0000{ending}"])[0]
    assert np.array_equal(seen[:, 0], planes)


def test_3d_tiff_goes_with_the_file_of_its_spacing(tmp_path, source):
    with environment_of(tmp_path):
        raw = make_raw(tmp_path)
        stack = np.random.default_rng(1).integers(0, 1000, (7, 20, 24), dtype=np.uint16)
        for file in (raw / "imagesTr").iterdir():
            file.unlink()
        tifffile.imwrite(raw / "imagesTr" / "c0_0000.tif", stack)
        write_json({"spacing": [3, 1, 1]}, raw / "imagesTr" / "c0.json")
        write_json(read_json(raw / "dataset.json") | {"file_ending": ".tif"}, raw / "dataset.json")
        source.mkdir()
        tifffile.imwrite(source / "new.tif", stack + 1)
        write_json({"spacing": [3, 1, 1]}, source / "new.json")
        write(volume(3, shape=(7, 20, 24), spacing=(1.0, 1.0, 9.0)), source / "other.nii.gz")
        report = add_unlabeled(DATASET, source)
    assert set(report.added.values()) == {"new", "other"}, report.problems
    folder = raw / "imagesUn"
    assert np.array_equal(tifffile.imread(folder / "new_0000.tif"), stack + 1)
    assert read_json(folder / "new.json") == {"spacing": [3, 1, 1]}
    assert read_json(folder / "other.json") == {"spacing": [9.0, 1.0, 1.0]}
    assert "spacing" in report.warnings["other.nii.gz"][0]


def test_no_number_in_nifti_is_refused_though_itk_reads_zero(raw, source):
    values = SimpleITK.GetArrayFromImage(volume(1))
    values[2, 3, 4] = np.nan
    image = nibabel.Nifti1Image(values.T, np.diag([-1.5, -1.5, 8.0, 1.0]))
    source.mkdir()
    nibabel.save(image, source / "nan.nii.gz")
    assert np.isfinite(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(source / "nan.nii.gz")))).all()
    assert add_unlabeled(DATASET, source).problems == {"nan.nii.gz": "it has NaN or infinite voxels"}
    (raw / "imagesUn").mkdir(exist_ok=True)
    nibabel.save(image, raw / "imagesUn" / "nan_0000.nii.gz")
    assert run().failures == {"nan": "it has NaN or infinite voxels"}
