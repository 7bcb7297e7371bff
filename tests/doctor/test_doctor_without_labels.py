import shutil

import pytest
from findings_of import only_problem, sound
from tiny_training import PLANS

from nnunet_pix2rep.annotation.start.fingerprint import FINGERPRINT_FILE, FROM_BODY, SOURCE_KEY
from nnunet_pix2rep.doctor.dataset import DatasetCheck
from nnunet_pix2rep.doctor.findings import Level
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.unlabeled.preprocess import preprocess_unlabeled


def check(dataset, fold=None):
    return DatasetCheck(dataset.name, "2d", PLANS, fold).run()


def raw_of(dataset):
    return dataset.parents[1] / "nnUNet_raw" / dataset.name


@pytest.fixture
def scans_alone(dataset):
    """The dataset without its labels, as nnunet_pix2rep new_dataset and plan_unlabeled leave it."""
    raw = raw_of(dataset)
    (raw / "imagesTr").rename(raw / "imagesUn")
    (raw / "imagesTr").mkdir()
    shutil.rmtree(raw / "labelsTr")
    shutil.rmtree(dataset / f"{PLANS}_2d")
    shutil.rmtree(dataset / "gt_segmentations")
    (dataset / "splits_final.json").unlink()
    preprocess_unlabeled(dataset.name, "2d", PLANS, num_processes=1)
    return dataset


def message_of(findings, subject):
    (finding,) = [finding for finding in findings if finding.subject == subject]
    return finding.message


def test_scans_alone_are_sound_and_what_comes_next_is_said(scans_alone):
    findings = check(scans_alone)
    assert sound(findings)
    assert "no training cases yet" in message_of(findings, "dataset")
    assert message_of(findings, "unlabeled images").startswith("6 take part")
    assert f"nnUNetv2_train 901 2d all -p {PLANS} -tr nnUNetTrainerPix2RepV2Pretrain" in message_of(findings, "next")


def test_a_numbered_fold_is_an_error(scans_alone):
    assert "has no fold 0" in only_problem(check(scans_alone, 0), Level.ERROR).message
    assert sound(check(scans_alone, "all"))


def test_scans_that_are_not_preprocessed_are_an_error(scans_alone):
    shutil.rmtree(scans_alone / f"{PLANS}_2d_unlabeled")
    (scans_alone / f"{PLANS}_2d_unlabeled.json").unlink()
    problem = only_problem(check(scans_alone), Level.ERROR)
    assert "preprocessed for 2d: nothing can be trained" in problem.message
    assert problem.remedy == f"nnunet_pix2rep preprocess_unlabeled -d 901 -c 2d -p {PLANS}"


def test_a_dataset_that_is_not_planned_names_the_command_for_scans_alone(scans_alone):
    shutil.rmtree(scans_alone)
    problem = only_problem(DatasetCheck("901", "2d", PLANS).run(), Level.ERROR)
    assert "plan_unlabeled" in problem.message
    assert problem.remedy == "nnunet_pix2rep plan_unlabeled -d 901 -c 2d"


def test_without_the_raw_data_scans_alone_are_still_sound(scans_alone):
    shutil.rmtree(raw_of(scans_alone))
    assert "raw data" in only_problem(check(scans_alone), Level.WARNING).message


def test_two_images_of_one_name_are_told_from_two_copies_of_one(dataset):
    labeled, unlabeled = raw_of(dataset) / "imagesTr", raw_of(dataset) / "imagesUn"
    unlabeled.mkdir()
    for name in ("case_00_0000.nii.gz", "case_01_0000.nii.gz"):
        shutil.copy(labeled / "case_00_0000.nii.gz", unlabeled / name)
    problem = only_problem(check(dataset), Level.WARNING)
    assert problem.message == "imagesTr and imagesUn have different images of one name: case_01_0000.nii.gz."
    assert problem.remedy == "rename imagesUn/case_01_0000.nii.gz, or move it away"


def test_ct_that_is_normalized_by_the_body_is_remarked_once_there_are_labels(dataset):
    plans = read_json(dataset / f"{PLANS}.json")
    plans["configurations"]["2d"]["normalization_schemes"] = ["CTNormalization"]
    write_json(plans, dataset / f"{PLANS}.json")
    fingerprint = read_json(dataset / FINGERPRINT_FILE)
    assert sound(check(dataset))
    write_json(fingerprint | {SOURCE_KEY: FROM_BODY}, dataset / FINGERPRINT_FILE)
    problem = only_problem(check(dataset), Level.WARNING)
    assert problem.remedy.endswith(f"--replan -overwrite_plans_name {PLANS}2")
