import os
import shutil

import numpy as np
import pytest
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from planned_dataset import DATASET
from unlabeled_dataset import cine, names_in, pool_of, run, volume, voxels, write

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase, preprocessed_cases
from nnunet_pix2rep.nnunet.loading.training_images import usable_pool_cases
from nnunet_pix2rep.nnunet.unlabeled.preprocess import preprocess_unlabeled


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_the_pool_holds_what_nnunet_makes_of_a_labeled_case(raw, preprocessed, tmp_path, configuration):
    plans = PlansManager(str(preprocessed / "nnUNetPlans.json"))
    image, label = raw / "imagesTr" / "case_00_0000.nii.gz", raw / "labelsTr" / "case_00.nii.gz"
    DefaultPreprocessor(verbose=False).run_case_save(
        str(tmp_path / "labeled"),
        [str(image)],
        str(label),
        plans,
        plans.get_configuration(configuration),
        read_json(preprocessed / "dataset.json"),
    )
    (raw / "imagesUn").mkdir()
    shutil.copy(image, raw / "imagesUn" / "same_0000.nii.gz")
    report = run(configuration)
    folder = pool_of(preprocessed, configuration)
    assert (report.num_made, report.num_kept, report.failures) == (1, 0, {})
    assert names_in(folder) == ["same.b2nd", "same.pkl"], "neither a segmentation nor a temporary file"
    expected, made = ImageCase("labeled", str(tmp_path)).open(), ImageCase("same", str(folder)).open()
    assert np.array_equal(made[:], expected[:])
    assert (made.dtype, made.chunks, made.blocks) == (np.float32, expected.chunks, expected.blocks)


def test_a_frame_of_a_cine_equals_a_3d_file_of_it(raw, preprocessed):
    write(cine([10, 11, 12]), raw / "imagesUn" / "heart_0000.nii.gz")
    for frame in range(3):
        write(volume(10 + frame), raw / "imagesUn" / f"single{frame + 1}_0000.nii.gz")
    report = run()
    folder = pool_of(preprocessed)
    assert report.num_made == 6
    for frame in (1, 2, 3):
        assert np.array_equal(voxels(folder, f"heart_frame0{frame}"), voxels(folder, f"single{frame}"))
    assert not np.array_equal(voxels(folder, "heart_frame01"), voxels(folder, "heart_frame02"))
    assert {name.split(".")[-1] for name in names_in(folder)} == {"b2nd", "pkl"}


def test_only_what_is_new_or_changed_is_preprocessed(raw, preprocessed):
    folder, images = pool_of(preprocessed), raw / "imagesUn"
    for name in "abc":
        write(volume(ord(name)), images / f"{name}_0000.nii.gz")
    run()
    first = {name: (folder / f"{name}.b2nd").stat().st_mtime_ns for name in "abc"}
    assert run().num_made == 0
    write(volume(1), images / "b_0000.nii.gz")
    write(volume(2), images / "d_0000.nii.gz")
    (images / "c_0000.nii.gz").unlink()
    report = run()
    assert (report.num_made, report.num_kept) == (2, 1)
    assert sorted(case.identifier for case in preprocessed_cases(str(folder))) == ["a", "b", "d"]
    assert (folder / "a.b2nd").stat().st_mtime_ns == first["a"]
    assert (folder / "b.b2nd").stat().st_mtime_ns > first["b"]


def test_a_copy_of_the_raw_images_elsewhere_is_not_preprocessed_again(raw, tmp_path):
    write(volume(1), raw / "imagesUn" / "a_0000.nii.gz")
    run()
    moved = tmp_path / "Ünlabeled images"
    (raw / "imagesUn").rename(moved)
    os.utime(moved / "a_0000.nii.gz", (1, 1))
    report = run(folder=moved)
    assert (report.num_made, report.num_kept, report.failures) == (0, 1, {})


def test_an_interrupted_run_is_completed(raw, preprocessed, monkeypatch):
    for name in "ab":
        write(volume(ord(name)), raw / "imagesUn" / f"{name}_0000.nii.gz")
    folder = pool_of(preprocessed)
    real = preprocess_unlabeled.__globals__["preprocess_raw_case"]

    def stop_at_b(task):
        if task.raw_case == "b":
            (folder / ".incomplete_left").mkdir()
            (folder / "b.pkl").touch()
            raise KeyboardInterrupt
        return real(task)

    with monkeypatch.context() as patch:
        patch.setitem(preprocess_unlabeled.__globals__, "preprocess_raw_case", stop_at_b)
        with pytest.raises(KeyboardInterrupt):
            run()
    report = run()
    assert (report.num_made, report.num_kept) == (1, 1)
    assert names_in(folder) == ["a.b2nd", "a.pkl", "b.b2nd", "b.pkl"]
    assert (folder / "b.pkl").stat().st_size > 0


def test_changed_plans_are_noticed(raw, preprocessed):
    write(volume(1), raw / "imagesUn" / "a_0000.nii.gz")
    run()
    before = voxels(pool_of(preprocessed), "a").shape
    plans = read_json(preprocessed / "nnUNetPlans.json")
    plans["configurations"]["2d"]["batch_size"] = 3  # has nothing to do with preprocessing
    write_json(plans, preprocessed / "nnUNetPlans.json")
    assert run().num_kept == 1
    plans["configurations"]["2d"]["spacing"] = [3.0, 3.0]
    write_json(plans, preprocessed / "nnUNetPlans.json")
    manager = PlansManager(plans)
    with pytest.raises(UserError, match="another spacing"):
        usable_pool_cases(preprocessed, manager, manager.get_configuration("2d"), [])
    report = run()
    assert report.num_made == 1
    assert voxels(pool_of(preprocessed), "a").shape != before
    cases, remarks = usable_pool_cases(preprocessed, manager, manager.get_configuration("2d"), [])
    assert [case.identifier for case in cases] == ["a"]
    assert remarks == []


@pytest.mark.slow
def test_nnunets_own_preprocessing_neither_deletes_nor_lists_the_pool(raw, preprocessed):
    write(volume(1), raw / "imagesUn" / "a_0000.nii.gz")
    run()
    DefaultPreprocessor(verbose=False).run(DATASET, "2d", "nnUNetPlans", 1)
    labeled = str(preprocessed / "nnUNetPlans_2d")
    assert sorted(infer_dataset_class(labeled).get_identifiers(labeled)) == [f"case_0{n}" for n in range(5)]
    assert [case.identifier for case in preprocessed_cases(str(pool_of(preprocessed)))] == ["a"]
    assert run().num_kept == 1


@pytest.mark.slow
def test_processes_give_what_one_process_gives(raw, preprocessed):
    for name in "abc":
        write(volume(ord(name)), raw / "imagesUn" / f"{name}_0000.nii.gz")
    (raw / "imagesUn" / "bad_0000.nii.gz").write_text("no image")
    run()
    folder = pool_of(preprocessed)
    expected = {name: voxels(folder, name) for name in "abc"}
    shutil.rmtree(folder)
    report = preprocess_unlabeled(DATASET, "2d", num_processes=2)
    assert (report.num_made, set(report.failures)) == (3, {"bad"})
    assert all(np.array_equal(voxels(folder, name), expected[name]) for name in "abc")
