"""Files and names as public reports of users have them."""

import gzip

import nibabel
import numpy as np
import pytest
import SimpleITK
from planned_dataset import DATASET, environment_of
from unlabeled_dataset import SHAPE, make_raw, volume, write

from nnunet_pix2rep.nnunet.unlabeled.adding.add import add_unlabeled


def save(values, file, affine=(1.5, 1.5, 8.0)):
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([*affine, 1.0])), file)


def test_a_name_that_is_too_long_is_named_and_the_rest_is_added(raw, source):
    write(volume(11), source / ("x" * 120) / ("y" * 120) / "deep.nii.gz")
    write(volume(12), source / "患者" / "扫描.nii.gz")
    write(volume(13), source / "Ωμέγα 1" / "κ.nrrd")
    report = add_unlabeled(DATASET, source)
    assert set(report.added.values()) == {"患者_扫描", "Ωμέγα_1_κ"}
    (problem,) = report.problems.values()
    assert "too many for the names of files" in problem


def test_complex_voxels_lose_no_part_in_silence(raw, source):
    save((np.ones(SHAPE[::-1]) + 1j).astype(np.complex64), source / "kspace.nii.gz")
    assert "complex numbers" in add_unlabeled(DATASET, source).problems["kspace.nii.gz"]


def test_no_case_is_named_as_nnunet_names_segmentations(raw, source):
    write(volume(11), source / "T1_seg.nii.gz")
    write(volume(12), source / "Head.seg.nrrd")
    assert set(add_unlabeled(DATASET, source).added.values()) == {"T1-seg", "Head-seg"}


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".mha", ".nrrd"])
@pytest.mark.parametrize("compressed", [True, False])
def test_half_a_file_is_no_scan(raw, source, ending, compressed):
    source.mkdir()
    file = source / f"half{ending}"
    SimpleITK.WriteImage(volume(11), str(file), useCompression=compressed)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    report = add_unlabeled(DATASET, source)
    assert report.added == {}
    assert list(report.problems) == [file.name]


@pytest.mark.parametrize("target", [".nii.gz", ".nrrd", ".mha", ".tif"])
@pytest.mark.parametrize("number", [np.nan, -np.inf])
def test_what_is_no_number_is_refused_in_every_format(tmp_path, source, target, number):
    with environment_of(tmp_path):
        raw = make_raw(tmp_path, target)
        values = SimpleITK.GetArrayFromImage(volume(11))
        values[1, 2, 3] = number
        bad = SimpleITK.GetImageFromArray(values)
        bad.CopyInformation(volume(11))
        for ending in (".nii", ".nii.gz", ".nrrd", ".mha", ".tif"):
            write(bad, source / f"bad_{ending[1:3]}{len(ending)}{ending}")
        write(volume(12), source / "good.mha")
        report = add_unlabeled(DATASET, source)
        assert list(report.added.values()) == ["good"]
        assert set(report.problems.values()) == {"it has NaN or infinite voxels"}
        assert len(report.problems) == 5
        assert [path.name for path in (raw / "imagesUn").glob("*_0000.*")] == [f"good_0000{target}"]


def test_gz_that_is_none_and_a_flipped_bit(raw, source):
    whole = write(volume(11), source / "whole.nii.gz")
    content = bytearray(whole.read_bytes())
    (source / "plain.nii.gz").write_bytes(gzip.decompress(bytes(content)))
    content[len(content) // 2] ^= 0xFF
    (source / "flipped.nii.gz").write_bytes(bytes(content))
    (source / "empty.nii.gz").write_bytes(b"")
    report = add_unlabeled(DATASET, source)
    assert list(report.added) == ["whole.nii.gz"]
    assert set(report.problems) == {"plain.nii.gz", "flipped.nii.gz", "empty.nii.gz"}
    assert all("truncated or damaged" in problem for problem in report.problems.values())


def test_a_fourth_axis_of_length_1_a_vector_and_upper_case_endings(raw, source):
    values = SimpleITK.GetArrayFromImage(volume(11)).T
    save(values[..., None], source / "single.nii.gz")
    save(np.stack([values] * 3, axis=-1)[..., None, :] + 1, source / "vector.nii.gz")
    write(volume(13), source / "upper.nii.gz").rename(source / "UPPER.NII.GZ")
    (source / "._UPPER.NII.GZ").write_bytes(b"left by macOS")
    report = add_unlabeled(DATASET, source)
    assert set(report.added.values()) == {"single", "UPPER"}
    assert set(report.problems) == {"vector.nii.gz"}


def test_all_slices_in_one_dicom_file(raw, source):
    source.mkdir()
    frames = np.random.default_rng(0).integers(0, 1000, (5, 40, 36), dtype=np.uint16)
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(frames), str(source / "multi_frame.dcm"))
    report = add_unlabeled(DATASET, source)
    assert report.problems == {}
    (name,) = report.added.values()
    stored = SimpleITK.ReadImage(str(raw / "imagesUn" / f"{name}_0000.nii.gz"))
    assert np.array_equal(SimpleITK.GetArrayFromImage(stored), frames)


def write_rescaled(folder, slopes):
    """A series of PET whose slices have rescale slopes of their own; returns its true values."""
    folder.mkdir(parents=True)
    stored = np.random.default_rng(2).integers(1, 1000, (len(slopes), 40, 36), dtype=np.int16)
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for index, slope in enumerate(slopes):
        tags = {
            "0008|0060": "PT",
            "0020|000e": "1.2.3",
            "0020|0013": str(index),
            "0008|0018": f"1.2.3.{index + 1}",
            "0020|0032": f"0\\0\\{4 * index}",
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|1052": "0",
            "0028|1053": f"{slope:g}",
        }
        bits = {"0028|0100": "16", "0028|0101": "16", "0028|0102": "15", "0028|0103": "1"}
        image = SimpleITK.GetImageFromArray(stored[index] if slope == 1 else stored[index] * float(slope))
        for tag, value in (tags if slope == 1 else tags | bits).items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{index}.dcm"))
        writer.Execute(image)
    return stored * np.array(slopes, dtype=float)[:, None, None]


@pytest.mark.parametrize(
    ("slopes", "kind"),
    [
        ((1, 0.25, 0.5, 1.5), SimpleITK.sitkFloat64),
        ((0.25, 1, 0.5, 1.5), SimpleITK.sitkFloat64),
        ((1, 300, 1, 2), SimpleITK.sitkFloat64),  # larger than the integers of the first slice
        ((1, 1, 1, 1), SimpleITK.sitkInt16),
        ((2, 2, 2, 2), SimpleITK.sitkInt32),
    ],
)
def test_each_slice_of_dicom_has_its_own_rescale_slope(raw, source, slopes, kind):
    wanted = write_rescaled(source / "pet", slopes)
    assert add_unlabeled(DATASET, source).problems == {}
    stored = SimpleITK.ReadImage(str(raw / "imagesUn" / "pet_0000.nii.gz"))
    assert stored.GetPixelID() == kind
    assert np.array_equal(SimpleITK.GetArrayFromImage(stored), wanted)


def test_intensities_of_nifti_are_rescaled(raw, source):
    stored = np.random.default_rng(1).integers(0, 2000, SHAPE[::-1], dtype=np.int16)
    image = nibabel.Nifti1Image(stored, np.diag([1.5, 1.5, 8.0, 1.0]))
    image.header.set_slope_inter(2.0, -1024.0)
    source.mkdir()
    nibabel.save(image, source / "ct.nii.gz")
    wanted = nibabel.load(source / "ct.nii.gz").get_fdata(dtype=np.float32)
    assert wanted.min() < 0
    assert add_unlabeled(DATASET, source).problems == {}
    seen = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(raw / "imagesUn" / "ct_0000.nii.gz")))
    assert np.allclose(seen.T, wanted)
