import numpy as np
import pytest
import SimpleITK
from planned_dataset import DATASET, environment_of
from unlabeled_dataset import SHAPE, cine, make_raw, volume, write

from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases
from nnunet_pix2rep.nnunet.unlabeled.adding.add import add_unlabeled

OBLIQUE = (0.8, -0.6, 0.0, 0.6, 0.8, 0.0, 0.0, 0.0, 1.0)


@pytest.fixture
def raw(tmp_path):
    with environment_of(tmp_path):
        yield make_raw(tmp_path)


def oblique(seed):
    image = volume(seed)
    image.SetDirection(OBLIQUE)
    return image


def natural(seed, colors=1):
    shape = (40, 36) if colors == 1 else (40, 36, colors)
    voxels = np.random.default_rng(seed).integers(0, 255, shape, dtype=np.uint8)
    return SimpleITK.GetImageFromArray(voxels, isVector=colors > 1)


def write_dicom(folder, seed, *, series="1.2.3", number=1, missing=(), slices=6):
    """A CT-like series of slices, 4 mm apart."""
    folder.mkdir(parents=True, exist_ok=True)
    voxels = np.random.default_rng(seed).integers(0, 1000, (slices, 40, 36), dtype=np.int16)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index in range(slices):
        if index in missing:
            continue
        image = SimpleITK.GetImageFromArray(voxels[index])
        image.SetSpacing((1.5, 1.25))
        tags = {
            "0008|0060": "CT",
            "0020|000e": series,
            "0020|0011": str(number),
            "0020|0013": str(index),
            "0008|0018": f"{series}.{index + 1}",
            "0020|0032": f"-10\\20\\{4 * index}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0018|0050": "4",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{series}-{index:03d}.dcm"))
        writer.Execute(image)
    return voxels


def added_image(raw, name, channel=0, ending=".nii.gz"):
    return SimpleITK.ReadImage(str(raw / "imagesUn" / f"{name}_{channel:04d}{ending}"))


def assert_same(image, expected):
    assert image.GetSize() == expected.GetSize()
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), SimpleITK.GetArrayFromImage(expected))
    for kind in ("GetSpacing", "GetOrigin", "GetDirection"):
        assert np.allclose(getattr(image, kind)(), getattr(expected, kind)(), atol=1e-5)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("target", [".nii.gz", ".nrrd", ".mha"])
def test_voxels_and_geometry_survive(tmp_path, source, ending, target):
    with environment_of(tmp_path):
        raw = make_raw(tmp_path, target)
        write(oblique(1), source / "Äpfel" / f"scan 1{ending}")
        report = add_unlabeled(DATASET, source)
    assert list(report.added.values()) == ["Äpfel_scan_1"]
    assert report.problems == {}
    assert_same(added_image(raw, "Äpfel_scan_1", ending=target), oblique(1))


def test_dicom_series_in_folders_of_their_own_and_in_one(raw, source):
    first = write_dicom(source / "anna", 1)
    second = write_dicom(source / "both", 2, series="1.2.4", number=3)
    write_dicom(source / "both", 3, series="1.2.5", number=7)
    (source / "both" / "README").write_text("no image")
    report = add_unlabeled(DATASET, source)
    assert sorted(report.added.values()) == ["anna", "both_series3", "both_series7"]
    assert report.ignored == ["both/README"]
    anna = added_image(raw, "anna")
    assert np.array_equal(SimpleITK.GetArrayFromImage(anna), first)
    assert np.allclose(anna.GetSpacing(), (1.5, 1.25, 4.0))
    assert np.allclose(anna.GetOrigin(), (-10, 20, 0))
    assert np.array_equal(SimpleITK.GetArrayFromImage(added_image(raw, "both_series3")), second)


def test_a_series_with_a_missing_slice_is_refused_and_the_rest_is_added(raw, source):
    write_dicom(source / "torn", 1, missing=(3,))
    write_dicom(source / "whole", 2)
    report = add_unlabeled(DATASET, source)
    assert list(report.added.values()) == ["whole"]
    assert "mm apart" in report.problems["torn"]


def test_channels(tmp_path, source):
    with environment_of(tmp_path):
        raw = make_raw(tmp_path, channels=2)
        for channel in range(2):
            write(volume(channel), source / f"p1_{channel:04d}.nrrd")
        write(cine([4, 5]), source / "p2.nii.gz")
        write(volume(6), source / "single.nii.gz")
        for channel in range(3):
            write(volume(7 + channel), source / f"three_{channel:04d}.nii.gz")
        report = add_unlabeled(DATASET, source)
    assert sorted(report.added.values()) == ["p1", "p2"]
    assert set(report.problems) == {"single.nii.gz", "three_0000.nii.gz"}
    assert "3 channel(s), the dataset has 2" in report.problems["three_0000.nii.gz"]
    assert_same(added_image(raw, "p1", 1), volume(1))
    assert np.array_equal(
        SimpleITK.GetArrayFromImage(added_image(raw, "p2", 1)), SimpleITK.GetArrayFromImage(volume(5))
    )
    assert len(list((raw / "imagesUn").iterdir())) == 4


def test_channels_that_lie_apart_are_named(tmp_path, source):
    with environment_of(tmp_path):
        make_raw(tmp_path, channels=2)
        for name, shift in (("near", 0.01), ("far", 3.0)):
            for channel in range(2):
                image = volume(channel + (name == "far") * 2)
                image.SetOrigin([place + channel * shift for place in image.GetOrigin()])
                write(image, source / f"{name}_{channel:04d}.nii.gz")
        report = add_unlabeled(DATASET, source)
    assert sorted(report.added.values()) == ["far", "near"]
    ((label, remarks),) = report.warnings.items()
    assert label.startswith("far")
    assert any("channels lie up to 5.20 mm apart" in remark for remark in remarks)


def test_numbers_that_are_no_channels_and_cines(raw, source):
    for number in (1, 2, 7):
        write(volume(number), source / f"IMG_{number:04d}.nii.gz")
    write(cine([4, 5, 6]), source / "cine.nii.gz")
    report = add_unlabeled(DATASET, source)
    assert sorted(report.added.values()) == ["IMG_0001", "IMG_0002", "IMG_0007", "cine"]
    assert added_image(raw, "cine").GetSize() == (*SHAPE[::-1], 3)
    assert set(list_raw_cases(raw / "imagesUn", ".nii.gz")) == set(report.added.values())


def test_unlike_the_labeled_images(raw, source):
    write(volume(1, spacing=(0.7, 0.7, 8.0)), source / "fine.nii.gz")
    turned = volume(2)
    turned.SetDirection((0, 0, 1, 1, 0, 0, 0, 1, 0))
    write(turned, source / "turned.nii.gz")
    write(volume(3, spacing=(2.0, 2.0, 9.0)), source / "usual.nii.gz")
    write(volume(4, shape=(40, 36)), source / "flat.nii.gz")
    report = add_unlabeled(DATASET, source)
    assert sorted(report.added.values()) == ["fine", "turned", "usual"]
    assert set(report.warnings) == {"fine.nii.gz", "turned.nii.gz"}
    assert "0.7" in report.warnings["fine.nii.gz"][0]
    assert "orientation" in report.warnings["turned.nii.gz"][0]
    assert report.problems == {"flat.nii.gz": "it is 2D, the labeled images are 3D"}


@pytest.mark.parametrize("colors", [1, 3])
def test_natural_images(tmp_path, source, colors):
    with environment_of(tmp_path):
        raw = make_raw(tmp_path, ".png", colors, lambda seed: natural(seed, colors))
        for path in (raw / "imagesTr").glob("*_000[12].png"):
            path.unlink()  # colors share a file
        write(natural(1, colors), source / "photo.png")
        write(natural(2, colors), source / "slide.bmp")
        write(natural(3, 4 - colors), source / "other.png")
        if colors == 1:
            gray = natural(4)
            write(SimpleITK.Compose(gray, gray, gray), source / "gray saved in colors.png")
        report = add_unlabeled(DATASET, source)
    assert sorted(report.added.values()) == ["gray_saved_in_colors"] * (colors == 1) + ["photo", "slide"]
    assert f"the dataset has {colors}" in report.problems["other.png"]
    assert_same(added_image(raw, "slide", ending=".png"), natural(2, colors))
    if colors == 1:
        assert_same(added_image(raw, "gray_saved_in_colors", ending=".png"), natural(4))
