import shutil

import numpy as np
import pytest
import SimpleITK
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from planned_dataset import DATASET
from unlabeled_dataset import cine, names_in, pool_of, run, volume, voxels, write

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.data.preprocessed_images import preprocessed_cases
from nnunet_pix2rep.nnunet.loading.fold_cases import pretraining_cases
from nnunet_pix2rep.nnunet.loading.training_images import usable_pool_cases
from nnunet_pix2rep.nnunet.patients.few_shot_folds import cross_validation_splits
from nnunet_pix2rep.nnunet.patients.split_files import read_dataset_patients, write_splits
from nnunet_pix2rep.nnunet.unlabeled.adding.add import add_unlabeled
from nnunet_pix2rep.nnunet.unlabeled.pool import read_pool


def test_bad_images_are_reported_and_do_not_stop_the_rest(raw, preprocessed):
    images = raw / "imagesUn"
    good = write(volume(1), images / "good_0000.nii.gz")
    (images / "torn_0000.nii.gz").write_bytes(good.read_bytes()[:2000])
    (images / "text_0000.nii.gz").write_text("no image")
    write(volume(3), images / "two_0000.nii.gz")
    write(volume(4), images / "two_0001.nii.gz")
    torn_cine = write(cine([1, 2]), images / "cine_0000.nii.gz")
    torn_cine.write_bytes(torn_cine.read_bytes()[:2000])
    report = run()
    assert report.num_made == 1
    assert set(report.failures) == {"torn", "text", "two", "cine"}
    assert "truncated" in report.failures["torn"]
    assert "2 channels, the dataset has 1" in report.failures["two"]
    assert names_in(pool_of(preprocessed)) == ["good.b2nd", "good.pkl"]
    manager = PlansManager(str(preprocessed / "nnUNetPlans.json"))
    cases, remarks = usable_pool_cases(preprocessed, manager, manager.get_configuration("2d"), [])
    assert [case.identifier for case in cases] == ["good"]
    assert "not preprocessed" in remarks[0]
    write(volume(5), images / "torn_0000.nii.gz")
    assert run().num_made == 1


def test_nan_voxels_are_refused(root, preprocessed):
    # the reader of NIfTI files makes zeros of NaN; other formats keep it
    other = root / "nnUNet_raw" / "Dataset901_Large"
    write_json({"file_ending": ".mha", "channel_names": {"0": "MRI"}}, other / "dataset.json")
    image = volume(2)
    image[3, 3, 3] = float("nan")
    write(image, other / "imagesTr" / "nan_0000.mha")
    report = run(folder=other / "imagesTr")
    assert "NaN" in report.failures["Dataset901_Large_nan"]
    assert names_in(pool_of(preprocessed)) == []


def test_labeled_cases_and_test_patients_stay_out(raw, preprocessed):
    images = raw / "imagesUn"
    for name in ("case_00", "of_test_patient", "new", "twin_frame01"):
        write(volume(1), images / f"{name}_0000.nii.gz")
    write(cine([1, 2]), images / "twin_0000.nii.gz")
    write(volume(9), raw / "imagesTs" / "test_case_0000.nii.gz")
    patients = {f"case_0{number}": f"P{number}" for number in range(5)} | {"test_case": "T", "of_test_patient": "T"}
    write_json({case: {"patient": name} for case, name in patients.items()}, raw / "patients.json")
    report = run()
    assert report.selection.left_out == {
        "named like a labeled case": ["case_00"],
        "of a patient in imagesTs": ["of_test_patient"],
        "two images would get this name": ["twin_frame01", "twin_frame01"],
    }
    assert {path.stem for path in pool_of(preprocessed).iterdir()} == {"new", "twin_frame02"}
    assert "not known from patients.json" in report.selection.warnings[0]

    # a patient who gets into imagesTs later is left out at the next training too, before the pool is made again
    write(volume(9), raw / "imagesTs" / "new_0000.nii.gz")
    manager = PlansManager(str(preprocessed / "nnUNetPlans.json"))
    cases, remarks = usable_pool_cases(preprocessed, manager, manager.get_configuration("2d"), [])
    assert [case.identifier for case in cases] == ["twin_frame02"]
    assert "of test patients" in remarks[0]


def test_images_of_another_dataset_get_its_name_and_its_patients(root, raw, preprocessed):
    other = root / "nnUNet_raw" / "Dataset901_Large"
    for name in ("case_00", "x_ED", "x_ES"):
        write(volume(7), other / "imagesTr" / f"{name}_0000.mha")
    write_json({"file_ending": ".mha", "channel_names": {"0": "MRI"}}, other / "dataset.json")
    write_json({"x_ED": {"patient": "X"}, "x_ES": {"patient": "X"}}, other / "patients.json")
    write(volume(1), raw / "imagesUn" / "own_0000.nii.gz")
    run()
    assert run(folder=other / "imagesTr").num_made == 3
    pool = read_pool(pool_of(preprocessed))
    assert {name: image.patient for name, image in pool.images.items()} == {
        "own": None,
        "Dataset901_Large_case_00": None,
        "Dataset901_Large_x_ED": "X",
        "Dataset901_Large_x_ES": "X",
    }
    assert run().num_kept == 1
    assert len(preprocessed_cases(str(pool_of(preprocessed)))) == 4, "the other source stays"


def test_errors_say_what_to_do(raw, preprocessed, tmp_path):
    with pytest.raises(UserError, match="add_unlabeled"):
        run()
    (raw / "imagesUn").mkdir()
    with pytest.raises(UserError, match=r"_0000\.nii\.gz"):
        run()
    with pytest.raises(UserError, match="belongs to the dataset itself"):
        run(folder=raw / "imagesTr")
    with pytest.raises(UserError, match="nnUNetv2_plan_experiment"):
        run(plans_name="Missing")
    with pytest.raises(UserError, match="no configuration"):
        run("4d")
    write(volume(1), raw / "imagesUn" / "a_0000.nii.gz")
    run()
    elsewhere = tmp_path / "elsewhere"
    write(volume(1, shape=(4, 20, 20)), elsewhere / "a_0000.nii.gz")
    assert "another image of this name" in run(folder=elsewhere).failures["a"]
    (pool_of(preprocessed).with_name("nnUNetPlans_2d_unlabeled.json")).unlink()
    manager = PlansManager(str(preprocessed / "nnUNetPlans.json"))
    with pytest.raises(UserError, match="preprocess_unlabeled"):
        usable_pool_cases(preprocessed, manager, manager.get_configuration("2d"), [])


def test_an_image_smaller_than_any_patch_and_a_single_slice_are_fine(raw, preprocessed):
    write(volume(1, shape=(1, 30, 30)), raw / "imagesUn" / "slice_0000.nii.gz")
    write(volume(1, shape=(2, 3, 3)), raw / "imagesUn" / "tiny_0000.nii.gz")
    assert run().failures == {}
    assert voxels(pool_of(preprocessed), "slice").shape[1] == 1


def test_four_axes_of_a_one_file_case_with_several_channels_are_channels(raw, preprocessed):
    for name in (raw / "dataset.json", preprocessed / "dataset.json"):
        write_json(read_json(name) | {"channel_names": {"0": "T1", "1": "T2"}}, name)
    plans = read_json(preprocessed / "nnUNetPlans.json")
    configuration = plans["configurations"]["2d"]
    for key in ("normalization_schemes", "use_mask_for_norm"):
        configuration[key] = configuration[key] * 2
    properties = plans["foreground_intensity_properties_per_channel"]
    properties["1"] = properties["0"]
    write_json(plans, preprocessed / "nnUNetPlans.json")
    write(cine([1, 2]), raw / "imagesUn" / "both_0000.nii.gz")
    for channel, seed in enumerate((1, 2)):
        write(volume(seed), raw / "imagesUn" / f"apart_{channel:04d}.nii.gz")
        write(cine([seed, seed + 5]), raw / "imagesUn" / f"moving_{channel:04d}.nii.gz")
    report = run()
    assert report.failures == {}
    folder = pool_of(preprocessed)
    apart = voxels(folder, "apart")
    assert apart.shape[0] == 2
    assert np.array_equal(voxels(folder, "both"), apart)
    assert np.array_equal(voxels(folder, "moving_frame01"), apart)
    assert SimpleITK.ReadImage(str(raw / "imagesUn" / "moving_0000.nii.gz")).GetDimension() == 4


def test_an_image_of_a_validation_patient_whom_patients_json_names_after_the_split_is_not_pretrained_on(
    raw, preprocessed
):
    patients, source = read_dataset_patients(DATASET)
    write_splits(preprocessed, cross_validation_splits(patients, 5), patients, {"patients_from": source})
    write(volume(61), raw / "imagesUn" / "anna_2_0000.nii.gz")
    names = {f"case_0{number}": f"P{number}" for number in range(4)} | {"case_04": "anna", "anna_2": "anna"}
    write_json({case: {"patient": name} for case, name in names.items()}, raw / "patients.json")
    run()
    assert pretraining_cases(names, ["case_04"], preprocessed) == [f"case_0{number}" for number in range(4)]


def test_names_like_those_of_labeled_patients_are_warned_of_also_where_add_unlabeled_has_noted_them(raw, tmp_path):
    write_json({f"case_0{number}": {"patient": f"P{number}"} for number in range(5)}, raw / "patients.json")
    for seed, name in enumerate(("P4_second", "somebody")):
        write(volume(61 + seed), tmp_path / "new" / f"{name}.nii.gz")
    with pytest.raises(UserError, match="is P4_second of P4"):
        add_unlabeled(DATASET, tmp_path / "new")
    assert not (raw / "imagesUn").exists()
    table = tmp_path / "patients.csv"
    table.write_text("case,patient\nP4_second,P4_second\nsomebody,somebody\n")
    add_unlabeled(DATASET, tmp_path / "new", patients_table=table)
    (warning,) = run().selection.warnings
    assert "1 case(s) bear the name of a labeled patient with something behind it, for instance P4_second" in warning
    records = read_json(raw / "patients.json")
    write_json(records | {"P4_second": {"patient": "P4"}}, raw / "patients.json")
    assert run().selection.warnings == []


def test_a_copy_of_the_dataset_is_the_dataset_itself(raw, tmp_path):
    copy = tmp_path / "backup" / raw.name
    write(volume(61), copy / "imagesTs" / "test_0000.nii.gz")
    write(volume(62), copy / "imagesUn" / "new_0000.nii.gz")
    shutil.copyfile(raw / "dataset.json", copy / "dataset.json")
    with pytest.raises(UserError, match="belongs to the dataset itself"):
        run(folder=copy / "imagesTs")
    assert list(run(folder=copy / "imagesUn").selection.images) == ["new"]


def test_another_image_of_one_name_and_size_is_no_copy(preprocessed, tmp_path):
    folders = [tmp_path / name for name in ("first", "copy", "other")]
    for folder, seed in zip(folders, (61, 61, 62), strict=True):
        write(volume(seed), folder / "scan_0000.mha")
    dataset_json = read_json(preprocessed / "dataset.json")
    write_json(dataset_json | {"file_ending": ".mha"}, preprocessed / "dataset.json")
    assert len({(folder / "scan_0000.mha").stat().st_size for folder in folders}) == 1
    assert run(folder=folders[0]).num_made == 1
    report = run(folder=folders[1])
    assert (report.num_kept, report.failures) == (1, {})
    assert "another image of this name" in run(folder=folders[2]).failures["scan"]
    shutil.rmtree(folders[1])
    assert run(folder=folders[0]).failures == {}, "a folder that is gone was moved"
