import numpy as np
import pytest
import SimpleITK
from planned_dataset import DATASET, environment_of
from unlabeled_dataset import make_raw, pool_of, run, volume, write

from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.unlabeled.adding.add import add_unlabeled
from nnunet_pix2rep.nnunet.unlabeled.adding.label_maps import likely_neighbors, number_of_labels, why_no_scan

SCAN = np.random.default_rng(0).normal(100, 20, (1, 5, 40, 36)).astype(np.float32)
MASK = (SCAN > 110).astype(np.float32) * 3


def label_map(seed):
    return SimpleITK.Cast(volume(seed) > 150, SimpleITK.sitkUInt8)


def blank(value):
    image = volume(0) * 0 + value
    image.CopyInformation(volume(0))
    return image


@pytest.mark.parametrize(
    ("values", "name", "why"),
    [
        (SCAN, "scan", None),
        (SCAN, "segmentation", None),
        (np.rint(SCAN), "t1", None),
        (MASK, "imaging", None),
        (MASK, "case_00000/segmentation.nii.gz", "name says so"),
        (MASK, "labelsTr/c0.nii.gz", "name says so"),
        (MASK, "s0011/segmentations/liver.nii.gz", "name says so"),
        (MASK, "heart-gt", "name says so"),
        (MASK / 2, "mask", None),
        (MASK, "maskedT1", None),
        (SCAN * 0, "scan", "all its voxels are 0"),
        (SCAN * 0 + 0.5, "scan", "all its voxels are 0.5"),
    ],
)
def test_a_label_map_is_told_by_its_values_and_its_name(values, name, why):
    reason = why_no_scan(values, name, [])
    assert reason is None if why is None else why in reason and "--keep" in reason


@pytest.mark.parametrize(("others", "is_map"), [(SCAN, True), (MASK, False), (SCAN * 0 + 0.5, False), (None, False)])
def test_a_scan_on_the_same_grid_proves_a_label_map(others, is_map):
    reason = why_no_scan(MASK, "a2", [("a1", lambda: others)])
    assert reason is not None and "on the grid of a1" in reason if is_map else reason is None


def test_neighbors_are_asked_for_only_where_they_decide():
    why_no_scan(SCAN, "a", [("b", lambda: pytest.fail("read for nothing"))])


def test_many_whole_numbers_are_no_labels_though_a_sample_has_few():
    values = np.zeros(1_000_001, dtype=np.float32)
    values[1:1000] = np.arange(1, 1000)
    assert number_of_labels(values, 32) is None
    assert number_of_labels(np.array([[0.0, 1.0], [2.0, 2.0]]), 32) == 3


def test_the_most_alike_names_are_the_neighbors():
    cases = ["p1_image", "p1_seg", "p2_image", "x"]
    assert likely_neighbors("p1_seg", cases) == ["p1_image", "p2_image"]
    assert likely_neighbors("x", cases) == []


def test_masks_and_blank_images_are_not_added(tmp_path, source):
    with environment_of(tmp_path):
        raw = make_raw(tmp_path)
        write(volume(1), source / "a" / "imaging.nii.gz")
        write(label_map(1), source / "a" / "segmentation.nii.gz")
        write(volume(2), source / "b" / "t1.nrrd")
        write(label_map(2), source / "b" / "t2.nrrd")
        write(label_map(3), source / "alone.nii.gz")
        write(blank(7), source / "blank.nii.gz")
        report = add_unlabeled(DATASET, source)
        assert set(report.added.values()) == {"a_imaging", "b_t1", "alone"}
        assert "name says so" in report.skipped["a/segmentation.nii.gz"]
        assert "on the grid of b/t1.nrrd" in report.skipped["b/t2.nrrd"]
        assert "all its voxels are 7" in report.skipped["blank.nii.gz"]
        assert "is it a label map?" in report.warnings["alone.nii.gz"][-1]
        kept = add_unlabeled(DATASET, source, keep=["*/segmentation.nii.gz", "blank"])
        assert set(kept.added.values()) == {"a_segmentation", "blank"}
        assert (raw / "imagesUn" / "blank_0000.nii.gz").is_file()


def test_masks_and_blank_images_do_not_join_the_pool(raw, preprocessed):
    for name, image in (
        ("a_image", volume(11)),
        ("a_mask", label_map(11)),
        ("b1", volume(12)),
        ("b2", label_map(12)),
        ("c", blank(0)),
    ):
        write(image, raw / "imagesUn" / f"{name}_0000.nii.gz")
    report = run()
    assert report.failures == {}
    left_out = {name: reason for reason, names in report.selection.left_out.items() for name in names}
    assert "name says so" in left_out["a_mask"]
    assert "on the grid of b1_0000.nii.gz" in left_out["b2"]
    assert "all its voxels are 0" in left_out["c"]
    record = pool_of(preprocessed).with_suffix(".json")
    assert set(read_json(record)["images"]) == {"a_image", "b1"}
    report = run(keep=["a_*", "c"])
    assert (report.num_made, report.num_kept) == (2, 2)
    assert set(read_json(record)["images"]) == {"a_image", "b1", "a_mask", "c"}
    assert set(run().removed) == set()
