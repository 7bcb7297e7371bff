"""What nnU-Net preprocessed by itself of partly annotated cases is made again."""

import shutil

import pytest
from tiny_training import DATASET, PLANS
from work_folders import CHOSEN, FOLDERS

from nnunet_pix2rep.annotation.collect.run import preprocess_again
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json


def test_what_nnunet_preprocessed_itself_is_made_again(scans):
    scans.prepare(CHOSEN)
    scans.collect()
    before = scans.contents()
    properties = scans.preprocessed / FOLDERS[0] / "case_00.pkl"
    shutil.copy(scans.preprocessed / f"{FOLDERS[0]}_unlabeled" / "case_01.pkl", properties)
    report = preprocess_again(DATASET)
    assert report.preprocessed == {FOLDERS[0]: ["case_00"], FOLDERS[1]: []}
    assert scans.contents().keys() == before.keys()


def test_partly_annotated_cases_that_were_not_collected_are_made_again_too(scans):
    scans.prepare({"case_00": [14]}, axis=2)
    scans.collect()
    for file in ("annotations.json", "patients.json"):
        (scans.raw / file).unlink(missing_ok=True)
    (scans.preprocessed / FOLDERS[0] / "case_00.pkl").unlink()
    assert preprocess_again(DATASET).preprocessed == {FOLDERS[0]: ["case_00"], FOLDERS[1]: []}


def test_a_dataset_without_partly_annotated_cases(scans):
    with pytest.raises(UserError, match="has no partly annotated case"):
        preprocess_again(DATASET)


def test_what_was_preprocessed_by_former_plans_is_made_again(scans):
    scans.prepare(CHOSEN)
    scans.collect()
    file = scans.preprocessed / f"{PLANS}.json"
    plans = read_json(file)
    plans["configurations"]["2d"]["spacing"] = [spacing * 2 for spacing in plans["configurations"]["2d"]["spacing"]]
    write_json(plans, file)
    assert preprocess_again(DATASET).preprocessed == {FOLDERS[0]: list(CHOSEN), FOLDERS[1]: []}
    assert preprocess_again(DATASET).preprocessed == {FOLDERS[0]: [], FOLDERS[1]: []}
