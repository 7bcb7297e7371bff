import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from nnunetv2.experiment_planning.dataset_fingerprint.fingerprint_extractor import DatasetFingerprintExtractor
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
from planned_dataset import environment_of
from unlabeled_dataset import names_in, volume, write

from nnunet_pix2rep.annotation.start.foreground import Scan, prepare_scan
from nnunet_pix2rep.annotation.start.new_dataset import make_new_dataset
from nnunet_pix2rep.annotation.start.plan_unlabeled import PlannerOptions, plan_unlabeled
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.plans.write import write_plans
from nnunet_pix2rep.nnunet.unlabeled.preprocess import preprocess_unlabeled

INTENSITIES = "foreground_intensity_properties_per_channel"
IGNORE = 3


def raw_of(preprocessed: Path) -> Path:
    return preprocessed.parents[1] / "nnUNet_raw" / preprocessed.name


def annotate_one_slice(raw: Path, case: str, value: int = 1) -> None:
    """Moves a case to the labeled ones; one slice of its label is annotated."""
    image = raw / "imagesUn" / f"{case}_0000.nii.gz"
    voxels = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(image)))
    labels = np.full(voxels.shape, IGNORE, np.uint8)
    labels[2] = (voxels[2] >= 200) * value
    label = SimpleITK.GetImageFromArray(labels)
    label.CopyInformation(SimpleITK.ReadImage(str(image)))
    write(label, raw / "labelsTr" / f"{case}.nii.gz")
    image.replace(raw / "imagesTr" / image.name)
    write_json(read_json(raw / "dataset.json") | {"numTraining": 1}, raw / "dataset.json")


def test_what_nnunet_and_the_pretraining_need_is_there(planned):
    assert names_in(planned) == [
        "dataset.json",
        "dataset_fingerprint.json",
        "gt_segmentations",
        "nnUNetPlans.json",
        "nnUNetPlans_2d_unlabeled",
        "nnUNetPlans_2d_unlabeled.json",
    ]
    assert names_in(planned / "gt_segmentations") == []
    images = {path.stem for path in (planned / "nnUNetPlans_2d_unlabeled").glob("*.b2nd")}
    assert images == {"anna_1", "anna_2", "ben", "cine_frame01", "cine_frame02", "cine_frame03"}
    assert read_json(planned / "dataset.json")["numTraining"] == 0


def test_fingerprint_and_plans_are_those_that_nnunet_makes_with_labels(planned, tmp_path, in_this_process):
    """All but the intensities: a dataset of the same images, each with a label."""
    raw = tmp_path / "labeled" / "nnUNet_raw" / planned.name
    (raw.parents[1] / "nnUNet_preprocessed").mkdir(parents=True)
    for case in ("anna_1", "anna_2", "ben", "cine"):
        image = SimpleITK.ReadImage(str(raw_of(planned) / "imagesUn" / f"{case}_0000.nii.gz"))
        image = image[:, :, :, 1] if image.GetDimension() == 4 else image
        write(image, raw / "imagesTr" / f"{case}_0000.nii.gz")
        write(SimpleITK.Cast(image > 150, SimpleITK.sitkUInt8), raw / "labelsTr" / f"{case}.nii.gz")
    write_json(read_json(planned / "dataset.json") | {"numTraining": 4}, raw / "dataset.json")
    preprocessed = raw.parents[1] / "nnUNet_preprocessed" / planned.name
    with environment_of(raw.parents[1]):
        extractor = DatasetFingerprintExtractor(planned.name, 1)
        extractor.num_foreground_voxels_for_intensitystats = 1000
        extractor.run()
        ExperimentPlanner(planned.name).plan_experiment()
    ours, theirs = (read_json(folder / "dataset_fingerprint.json") for folder in (planned, preprocessed))
    assert ours.pop("pix2rep_foreground") == "body"
    assert ours.pop(INTENSITIES).keys() == theirs.pop(INTENSITIES).keys()
    assert ours == theirs
    ours, theirs = (read_json(folder / "nnUNetPlans.json") for folder in (planned, preprocessed))
    del ours[INTENSITIES], theirs[INTENSITIES]
    assert ours == theirs


def test_the_batch_size_follows_from_the_number_of_scans(planned):
    """nnU-Net lets a batch cover at most 5 % of the labeled cases, of which there are none."""
    few = read_json(planned / "nnUNetPlans.json")["configurations"]["2d"]["batch_size"]
    fingerprint = read_json(planned / "dataset_fingerprint.json")
    for name in ("spacings", "shapes_after_crop"):
        fingerprint[name] = fingerprint[name] * 10
    write_json(fingerprint, planned / "dataset_fingerprint.json")
    many = plan_unlabeled(950, ["2d"], PlannerOptions(plans_name="Many"), preprocess=False)
    assert read_json(many.plans_file)["configurations"]["2d"]["batch_size"] > few
    assert read_json(planned / "dataset.json")["numTraining"] == 0


def test_what_is_done_is_left_as_it_is(planned):
    before = {path: path.stat().st_mtime_ns for path in planned.rglob("*") if path.suffix in (".json", ".b2nd")}
    again = plan_unlabeled(950, ["2d"], num_processes=1)
    assert (again.is_new, again.foreground) == (False, None)
    assert (again.reports["2d"].num_made, again.reports["2d"].num_kept) == (0, 6)
    after = {path: path.stat().st_mtime_ns for path in before}
    record = planned / "nnUNetPlans_2d_unlabeled.json"  # written again with the same content
    assert {path for path in before if before[path] != after[path]} <= {record}


def test_new_scans_are_preprocessed_under_the_same_plans(planned):
    plans = (planned / "nnUNetPlans.json").read_text()
    write(volume(77), raw_of(planned) / "imagesUn" / "new_0000.nii.gz")
    assert plan_unlabeled(950, ["2d"], num_processes=1).reports["2d"].num_made == 1
    assert (planned / "nnUNetPlans.json").read_text() == plans


def test_unusable_scans_are_named_and_left_out(planned, in_this_process):
    folder = raw_of(planned) / "imagesUn"
    (folder / "aaa_0000.nii.gz").write_bytes(b"no image")
    write(volume(1) * 0, folder / "zero_0000.nii.gz")
    write(volume(1), folder / "two_0000.nii.gz")
    write(volume(2), folder / "two_0001.nii.gz")
    planned_again = plan_unlabeled(950, ["2d"], replan=True, num_processes=1)
    problems = planned_again.foreground.problems
    assert problems.keys() == {"aaa", "zero", "two"}
    assert "zero" in problems["zero"]
    assert "2 channels, the dataset has 1" in problems["two"]
    assert len(read_json(planned / "dataset_fingerprint.json")["spacings"]) == 4
    assert {"aaa", "two"} <= planned_again.reports["2d"].failures.keys()
    assert not list(planned.glob(".fingerprint_*"))


def test_nan_voxels_are_named(tmp_path):
    voxels = SimpleITK.GetArrayFromImage(volume(1))
    voxels[0, 0, 0] = np.nan
    file = write(SimpleITK.GetImageFromArray(voxels), tmp_path / "nan_0000.mha")  # ITK makes zeros of them in NIfTI
    prepared = prepare_scan(Scan("nan", (str(file),), None, SimpleITKIO, (False,), IGNORE, str(tmp_path), ".mha"))
    assert prepared.problem == "it has NaN or infinite voxels"


def test_without_any_usable_scan_there_is_no_plan(root, planned):
    shutil.rmtree(planned)
    folder = raw_of(planned) / "imagesUn"
    for file in folder.iterdir():
        file.write_bytes(b"no image")
    with pytest.raises(UserError, match="nnU-Net can read none of the 4 scans"):
        plan_unlabeled(950, ["2d"], num_processes=1)
    for file in folder.iterdir():
        file.unlink()
    with pytest.raises(UserError, match="add_unlabeled -d Dataset950_Start"):
        plan_unlabeled(950, ["2d"], num_processes=1)
    assert not list(planned.glob("*.json"))


def test_bad_names_are_refused(planned):
    with pytest.raises(UserError, match="no configuration 'large'"):
        plan_unlabeled(950, ["2d", "large"], num_processes=1)
    with pytest.raises(UserError, match="-pl Nonsense"):
        plan_unlabeled(950, ["2d"], PlannerOptions(planner="Nonsense"))
    with pytest.raises(UserError):
        plan_unlabeled(999, ["2d"])


def test_planner_and_names_can_be_chosen(planned):
    options = PlannerOptions("nnUNetPlannerResEncM", target_spacing=(8, 2, 2), plans_name="Wide")
    made = plan_unlabeled(950, ["2d"], options, preprocess=False)
    assert made.plans_file == planned / "Wide.json"
    plans = read_json(made.plans_file)
    assert plans["experiment_planner_used"] == "nnUNetPlannerResEncM"
    assert plans["configurations"]["2d"]["spacing"] == [2.0, 2.0]
    assert made.reports == {}


@pytest.mark.parametrize("name", ["dataset", "dataset_fingerprint", "My__Plans", "../Plans", "Plans.json"])
def test_a_name_that_plans_cannot_have_is_refused_and_nothing_replaced(name, planned):
    before = {path: path.read_bytes() for path in planned.parent.rglob("*.json")}
    with pytest.raises(UserError, match="-overwrite_plans_name"):
        plan_unlabeled(950, ["2d"], PlannerOptions(plans_name=name), replan=True, preprocess=False)
    assert {path: path.read_bytes() for path in planned.parent.rglob("*.json")} == before


def test_a_machine_that_loads_without_worker_processes_can_plan_too(planned, monkeypatch):
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")  # for trainings; nnU-Net's planner takes it for a number of threads
    made = plan_unlabeled(950, ["2d"], PlannerOptions(plans_name="Again"), preprocess=False)
    again, before = (read_json(file)["configurations"] for file in (made.plans_file, planned / "nnUNetPlans.json"))
    for configuration in ("2d", "3d_fullres"):
        for key in ("batch_size", "patch_size", "architecture"):
            assert again[configuration][key] == before[configuration][key]


def test_ct_is_normalized_by_the_body(ct_dataset):
    plans = read_json(ct_dataset / "nnUNetPlans.json")
    intensities = plans[INTENSITIES]["0"]
    assert plans["configurations"]["2d"]["normalization_schemes"] == ["CTNormalization"]
    assert intensities["min"] >= 0
    assert 40 < intensities["median"] < 60


def test_when_labels_come_plans_stay_and_planning_again_takes_what_is_annotated(ct_dataset):
    raw = raw_of(ct_dataset)
    plans = (ct_dataset / "nnUNetPlans.json").read_text()
    annotate_one_slice(raw, "ct1")
    kept = plan_unlabeled(950, ["2d"], num_processes=1)
    assert (kept.is_new, kept.num_labeled, kept.reports["2d"].num_made) == (False, 1, 0)
    again = plan_unlabeled(950, ["2d"], PlannerOptions(plans_name="Again"), replan=True, num_processes=1)
    assert not again.from_body
    intensities = read_json(again.plans_file)[INTENSITIES]["0"]
    assert intensities["min"] == intensities["max"] == 200  # neither air, which is ignore, nor the other bodies
    assert len(read_json(ct_dataset / "dataset_fingerprint.json")["spacings"]) == 3
    assert (ct_dataset / "nnUNetPlans.json").read_text() == plans


def test_a_label_without_foreground_leaves_the_body(ct_dataset):
    annotate_one_slice(raw_of(ct_dataset), "ct1", value=0)
    again = plan_unlabeled(950, ["2d"], replan=True, num_processes=1)
    assert again.from_body
    assert 40 < read_json(again.plans_file)[INTENSITIES]["0"]["median"] < 60


def test_compact_plans_work_on_top(planned):
    write_plans(950, "2d", compact=True)
    assert preprocess_unlabeled(950, "2d_compact", "Pix2RepPlans", num_processes=1).num_made == 6


def test_photographs_are_planned_for_2d_alone(root, tmp_path, in_this_process):
    for seed in range(3):
        pixels = np.random.default_rng(seed).integers(1, 200, (40, 36, 3)).astype(np.uint8)
        write(SimpleITK.GetImageFromArray(pixels, isVector=True), tmp_path / "photos" / f"photo{seed}.png")
    make_new_dataset(tmp_path / "photos", 950, "Start", ["cell"])
    made = plan_unlabeled(950, ["2d"], num_processes=1)
    plans = read_json(made.plans_file)
    assert list(plans["configurations"]) == ["2d"]
    assert plans["image_reader_writer"] == "NaturalImage2DIO"
    assert made.reports["2d"].num_made == 3
    with pytest.raises(UserError, match="no configuration '3d_fullres'"):
        plan_unlabeled(950, ["3d_fullres"], num_processes=1)


def test_a_cine_that_itk_refuses_is_in_the_fingerprint_where_the_reader_of_the_dataset_takes_it(
    planned, in_this_process
):
    raw = raw_of(planned)
    write_json(read_json(raw / "dataset.json") | {"overwrite_image_reader_writer": "NibabelIO"}, raw / "dataset.json")
    affine = np.diag([1.5, 1.5, 8.0, 1.0])
    affine[0, 1] = 0.4  # shear
    values = np.random.default_rng(1).uniform(1, 200, (36, 40, 5, 3)).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(values, affine), raw / "imagesUn" / "sheared_0000.nii.gz")
    made = plan_unlabeled(950, ["2d"], replan=True, preprocess=False, num_processes=1)
    assert made.foreground.problems == {}
    assert "sheared" in [scan.name for scan in made.foreground.scans]
