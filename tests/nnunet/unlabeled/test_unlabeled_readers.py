"""Adding and preprocessing images where nnU-Net's reader is not the one that the file ending suggests."""

import shutil

import nibabel
import numpy as np
import pytest
from planned_dataset import DATASET, environment_of
from unlabeled_dataset import make_raw, names_in, pool_of, run, voxels

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.unlabeled.adding.add import add_unlabeled

STRAIGHT = np.diag([1.5, 1.5, 3.0, 1.0])
SHEARED = STRAIGHT + np.eye(4, k=1) * [[0.15], [0], [0], [0]]


def save(file, affine, seed, frames=None):
    shape = (16, 14, 6) if frames is None else (16, 14, 6, frames)
    file.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(np.random.default_rng(seed).normal(100, 20, shape).astype(np.float32), affine)
    nibabel.save(image, file)
    return file


def with_reader(raw, name):
    write_json(read_json(raw / "dataset.json") | {"overwrite_image_reader_writer": name}, raw / "dataset.json")


@pytest.fixture
def raw(tmp_path):
    """A raw dataset without images."""
    with environment_of(tmp_path):
        folder = make_raw(tmp_path)
        shutil.rmtree(folder / "imagesTr")
        yield folder


@pytest.mark.parametrize("named", [True, False])
def test_a_sheared_affine_is_no_obstacle_where_nibabel_reads(raw, source, named):
    if named:
        with_reader(raw, "NibabelIO")
    save(raw / "imagesTr" / "c0_0000.nii.gz", SHEARED, 0)
    scan = save(source / "u0.nii.gz", SHEARED, 1)
    shutil.copy(raw / "imagesTr" / "c0_0000.nii.gz", source / "copy.nii.gz")
    save(source / "cine.nii.gz", SHEARED, 2, frames=3)
    report = add_unlabeled(DATASET, source)
    assert report.added == {"u0.nii.gz": "u0", "cine.nii.gz": "cine"}
    assert report.problems == report.warnings == {}
    assert report.skipped == {"copy.nii.gz": "it has the same voxels as imagesTr/c0"}
    assert (raw / "imagesUn" / "u0_0000.nii.gz").read_bytes() == scan.read_bytes()


def test_another_voxel_order_is_no_remark_where_the_reader_turns_it(raw, source):
    save(raw / "imagesTr" / "c0_0000.nii.gz", STRAIGHT, 0)
    turned = STRAIGHT[:, [2, 0, 1, 3]]
    image = nibabel.load(raw / "imagesTr" / "c0_0000.nii.gz")
    source.mkdir()
    nibabel.save(
        nibabel.Nifti1Image(image.get_fdata(dtype=np.float32).transpose(2, 0, 1), turned), source / "copy.nii.gz"
    )
    save(source / "coronal.nii.gz", turned[:, [1, 0, 2, 3]], 1)
    with_reader(raw, "NibabelIOWithReorient")
    report = add_unlabeled(DATASET, source)
    assert report.skipped == {"copy.nii.gz": "it has the same voxels as imagesTr/c0"}
    assert (report.added, report.warnings) == ({"coronal.nii.gz": "coronal"}, {})
    shutil.rmtree(raw / "imagesUn")
    with_reader(raw, "SimpleITKIO")
    report = add_unlabeled(DATASET, source)
    assert "orientation" in report.warnings["coronal.nii.gz"][-1]
    assert set(report.added) == {"coronal.nii.gz", "copy.nii.gz"}


def test_frames_of_a_sheared_cine_are_preprocessed_one_by_one(root, preprocessed):
    plans = read_json(preprocessed / "nnUNetPlans.json")
    write_json(plans | {"image_reader_writer": "NibabelIO"}, preprocessed / "nnUNetPlans.json")
    raw = root / "nnUNet_raw" / DATASET
    cine = save(raw / "imagesUn" / "cine_0000.nii.gz", SHEARED, 0, frames=2)
    frame = nibabel.Nifti1Image(nibabel.load(cine).get_fdata(dtype=np.float32)[..., 1], SHEARED)
    nibabel.save(frame, raw / "imagesUn" / "single_0000.nii.gz")
    report = run()
    assert report.failures == {}
    pool = pool_of(preprocessed)
    assert {name for name in names_in(pool) if name.endswith(".b2nd")} == {
        "cine_frame01.b2nd",
        "cine_frame02.b2nd",
        "single.b2nd",
    }
    assert np.array_equal(voxels(pool, "cine_frame02"), voxels(pool, "single"))


def test_images_that_dataset_json_lists_elsewhere_are_the_labeled_ones(raw, source, tmp_path):
    listed = {"c0": {"images": [str(tmp_path / "archive" / "i.nii.gz")], "label": str(tmp_path / "l.nii.gz")}}
    write_json(read_json(raw / "dataset.json") | {"dataset": listed}, raw / "dataset.json")
    image = save(tmp_path / "archive" / "i.nii.gz", STRAIGHT, 0)
    save(source / "u0.nii.gz", STRAIGHT, 1)
    shutil.copy(image, source / "copy.nii.gz")
    save(source / "c0.nii.gz", STRAIGHT, 2)
    report = add_unlabeled(DATASET, source)
    assert report.added == {"u0.nii.gz": "u0"}
    assert report.skipped == {
        "copy.nii.gz": "it has the same voxels as imagesTr/c0",
        "c0.nii.gz": "a case named c0 is among the labeled cases",
    }


def test_the_file_that_cannot_be_read_is_named(raw, source):
    listed = {"c0": {"images": ["/nowhere/i.nii.gz"], "label": "l.nii.gz"}}
    write_json(read_json(raw / "dataset.json") | {"dataset": listed}, raw / "dataset.json")
    save(source / "u0.nii.gz", STRAIGHT, 1)
    with pytest.raises(UserError, match=r"/nowhere/i\.nii\.gz"):
        add_unlabeled(DATASET, source)


def test_another_datasets_files_of_a_format_that_the_plans_reader_does_not_know(root, tmp_path):
    other = root / "nnUNet_raw" / "Dataset950_Other"
    (other / "imagesTr").mkdir(parents=True)
    (other / "imagesTr" / "x_0000.png").touch()
    write_json({"file_ending": ".png"}, other / "dataset.json")
    with pytest.raises(UserError, match=r"add_unlabeled"):
        run(folder=other / "imagesTr")
