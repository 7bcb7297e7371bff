import pytest
from batchgenerators.utilities.file_and_folder_operations import load_pickle, write_pickle
from findings_of import only_problem, sound
from tiny_training import CASES, PLANS, make_tiny_dataset, prepare_for_training

from nnunet_pix2rep.annotation.collect.preprocess import MARK, MARK_OF_PLANS
from nnunet_pix2rep.doctor.dataset import DatasetCheck
from nnunet_pix2rep.doctor.findings import Level
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.data.annotation_record import AnnotatedCase, AnnotationRound, write_annotations

LABELS = {"background": 0, "ring": 1, "core": 2, "ignore": 3}


@pytest.fixture
def sparse(tmp_path, monkeypatch):
    """Makes a dataset with one annotated slice in every case."""

    def make(empty_cases=(), configuration="2d"):
        annotated = {case: [6] for case in CASES}
        folder = make_tiny_dataset(
            tmp_path,
            labels=LABELS,
            configurations=[configuration],
            ignored_value=3,
            annotated_slices=annotated,
            empty_cases=empty_cases,
        )
        prepare_for_training(monkeypatch, folder, tmp_path)
        return folder

    return make


def check(folder, configuration="2d"):
    return DatasetCheck(folder.name, configuration, PLANS).run()


def test_sparse_labels_are_sound(sparse):
    findings = check(sparse())
    assert sound(findings)
    assert "sparse labels" in {finding.subject for finding in findings}


def test_slices_that_show_nothing(sparse):
    assert "shows any structure" in only_problem(check(sparse(empty_cases=CASES)), Level.ERROR).message


def test_annotations_that_resampling_has_lost(sparse):
    folder = sparse()
    file = folder / f"{PLANS}_2d" / "case_03.pkl"
    properties = load_pickle(str(file))
    properties["class_locations"] = {key: [] for key in properties["class_locations"]}
    write_pickle(properties, str(file))
    problem = only_problem(check(folder), Level.WARNING)
    assert "1 of 6 cases" in problem.message
    assert problem.remedy == "nnunet_pix2rep collect -d 901"


def test_annotations_of_which_resampling_may_have_lost_a_part(sparse):
    """In 3D nnU-Net resamples labels across slices; a case that ``collect`` has preprocessed is sound."""
    folder = sparse(configuration="3d_fullres")
    assert sound(check(folder, "3d_fullres"))
    file = folder / f"{PLANS}_3d_fullres" / "case_03.pkl"
    properties = load_pickle(str(file)) | {"shape_after_cropping_and_before_resampling": (24, 32, 32)}
    write_pickle(properties, str(file))
    problem = only_problem(check(folder, "3d_fullres"), Level.WARNING)
    assert "case_03" in problem.message
    assert problem.remedy == "nnunet_pix2rep collect -d 901"
    write_pickle(properties | {MARK: "digest"}, str(file))
    assert sound(check(folder, "3d_fullres"))


def test_collected_cases_that_nnunet_has_preprocessed_itself(sparse):
    folder = sparse()
    write_annotations([AnnotationRound(None, {"case_02": AnnotatedCase(0, [6], "")})], folder)
    assert sound(check(folder))
    for file in folder.glob("Tiny*Plans.json"):
        plans = read_json(file)
        plans["configurations"]["2d"]["use_mask_for_norm"] = [True]
        write_json(plans, file)
    assert "case_02" in only_problem(check(folder), Level.WARNING).message
    file = folder / f"{PLANS}_2d" / "case_02.pkl"
    write_pickle(load_pickle(str(file)) | {MARK: "digest"}, str(file))
    assert sound(check(folder))


def test_collected_cases_that_former_plans_have_preprocessed(sparse):
    folder = sparse()
    file = folder / f"{PLANS}_2d" / "case_02.pkl"
    write_pickle(load_pickle(str(file)) | {MARK_OF_PLANS: "{}"}, str(file))
    problem = only_problem(check(folder), Level.WARNING)
    assert "case_02" in problem.message
    assert problem.remedy == "nnunet_pix2rep collect -d 901"
