import json
import shlex
import shutil
from pathlib import Path

import pytest
from findings_of import only_problem, sound
from tiny_training import CASES, PLANS

from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.doctor.dataset import DatasetCheck
from nnunet_pix2rep.doctor.findings import Level
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.unlabeled.preprocess import preprocess_unlabeled


def check(dataset, configuration="2d", plans=PLANS, fold=None):
    return DatasetCheck(dataset.name, configuration, plans, fold).run()


def change_plans(dataset, function):
    plans = read_json(dataset / f"{PLANS}.json")
    function(plans["configurations"]["2d"])
    write_json(plans, dataset / f"{PLANS}.json")


def raw_of(dataset):
    return dataset.parents[1] / "nnUNet_raw" / dataset.name


def files_below(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_a_sound_dataset_has_no_finding_to_mend_and_is_left_as_it_is(dataset):
    before = files_below(dataset.parents[1])
    assert sound(check(dataset))
    assert files_below(dataset.parents[1]) == before


def test_a_dataset_that_does_not_exist(dataset):
    findings = DatasetCheck("Dataset999_None", "2d", PLANS).run()
    assert only_problem(findings, Level.ERROR).subject == "dataset"


def test_a_number_without_a_dataset_leads_to_the_command_that_makes_one(dataset):
    problem = only_problem(DatasetCheck("987", "2d", PLANS).run(), Level.ERROR)
    assert problem.remedy.startswith("nnunet_pix2rep new_dataset -i SCANS -d 987 ")


def test_raw_data_that_is_elsewhere(dataset):
    shutil.rmtree(raw_of(dataset))
    assert "raw data" in only_problem(check(dataset), Level.WARNING).message


@pytest.mark.parametrize(
    ("configuration", "plans", "message"),
    [("3d_lowres", PLANS, "no configuration '3d_lowres'"), ("2d", "NoPlans", "NoPlans.json does not exist")],
)
def test_missing_plans_or_configuration(dataset, configuration, plans, message):
    assert message in only_problem(check(dataset, configuration, plans), Level.ERROR).message


def test_a_setting_that_does_not_exist(dataset):
    change_plans(dataset, lambda configuration: configuration.update(pix2rep={"pretraining": {"epochs": 1}}))
    problem = only_problem(check(dataset), Level.ERROR)
    assert "pix2rep.pretraining.epochs" in problem.message
    assert problem.remedy.startswith(f"correct it in {dataset / PLANS}.json")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network_class_name": "torch.nn.Identity"}, "Identity"),
        ({"arch_kwargs": {"n_stages": 3}}, "cannot be built"),
    ],
)
def test_a_network_that_is_no_u_net_or_cannot_be_built(dataset, change, message):
    change_plans(dataset, lambda configuration: configuration["architecture"].update(change))
    assert message in only_problem(check(dataset), Level.ERROR).message


def test_data_that_is_not_preprocessed(dataset):
    shutil.rmtree(dataset / f"{PLANS}_2d")
    problem = only_problem(check(dataset), Level.ERROR)
    assert problem.remedy == f"nnUNetv2_preprocess -d 901 -plans_name {PLANS} -c 2d"


def test_a_case_that_is_not_preprocessed(dataset):
    write_json([{"train": list(CASES[:2]), "val": list(CASES[2:4])}], dataset / "splits_final.json")
    for file in (dataset / f"{PLANS}_2d").glob(f"{CASES[5]}*"):
        file.unlink()
    assert (
        f"1 of 6 cases are not preprocessed in {dataset / f'{PLANS}_2d'}: case_05"
        in only_problem(check(dataset), Level.ERROR).message
    )


def test_a_case_that_has_left_the_dataset(dataset):
    for file in raw_of(dataset).rglob(f"{CASES[5]}*"):
        file.unlink()
    assert "no training cases (any more): case_05" in only_problem(check(dataset), Level.WARNING).message


def test_an_image_that_is_damaged(dataset):
    (dataset / f"{PLANS}_2d" / f"{CASES[3]}.b2nd").write_bytes(b"damaged")
    assert "case_03" in only_problem(check(dataset), Level.ERROR).message


def test_labels_that_nnunets_validation_will_miss(dataset):
    (dataset / "gt_segmentations" / f"{CASES[0]}.nii.gz").unlink()
    assert "1 of 6 cases have no label" in only_problem(check(dataset), Level.ERROR).message


def test_a_fold_beyond_the_splits(dataset):
    assert "Fold 7 does not exist" in only_problem(check(dataset, fold=7), Level.ERROR).message
    assert sound(check(dataset, fold=1))
    assert sound(check(dataset, fold="all"))


def test_results_of_a_fold_beyond_the_splits(dataset):
    folder = dataset.parents[1] / "nnUNet_results" / dataset.name / f"nnUNetTrainer__{PLANS}__2d"
    for fold in ("fold_0", "fold_all", "fold_4"):
        (folder / fold).mkdir(parents=True)
    message = only_problem(check(dataset), Level.WARNING).message
    assert str(folder / "fold_4") in message
    assert "fold_0" not in message


def test_a_patient_on_both_sides(dataset):
    patients = {case: {"patient": f"p{number // 2}"} for number, case in enumerate(CASES)}
    write_json(patients, raw_of(dataset) / "patients.json")
    assert sound(check(dataset))
    write_json([{"train": [CASES[0]], "val": [CASES[1], CASES[2]]}], dataset / "splits_final.json")
    problem = only_problem(check(dataset), Level.ERROR)
    assert "patient p0 is in training (case_00) and in validation (case_01)" in problem.message
    assert problem.remedy == "nnunet_pix2rep split -d 901 --cross-validation 3"


def test_patients_with_several_cases_and_no_splits(dataset):
    (dataset / "splits_final.json").unlink()
    assert sound(check(dataset))
    write_json({case: {"patient": "p"} for case in CASES}, raw_of(dataset) / "patients.json")
    problem = only_problem(check(dataset), Level.WARNING)
    assert "1 patients have several" in problem.message
    assert problem.remedy.startswith("train in fold all, or annotate scans of another patient")
    assert sound(check(dataset, fold="all"))


@pytest.mark.parametrize("expression", [None, r"(case_\d)\d"])
@pytest.mark.parametrize("num_patients", [2, 4, 5])
def test_the_recommended_split_makes_folds_by_the_patients_there_are(dataset, num_patients, expression):
    (dataset / "splits_final.json").unlink()
    names = {case: f"p{number % num_patients}" for number, case in enumerate(CASES)}
    if expression is not None:
        renamed = {case: f"case_{number % num_patients}{number}" for number, case in enumerate(CASES)}
        rename_cases(dataset, renamed)
        source = {"patients_from": f"regular expression {expression}"}
        write_json({"format_version": 1, "settings": source, "patients": {}}, dataset / "pix2rep_splits.json")
    else:
        write_json({case: {"patient": name} for case, name in names.items()}, raw_of(dataset) / "patients.json")
    remedy = only_problem(check(dataset), Level.WARNING).remedy
    program, *arguments = shlex.split(remedy)
    assert program == "nnunet_pix2rep"
    assert main(arguments) == 0
    splits = read_json(dataset / "splits_final.json")
    assert len(splits) == num_patients
    assert sound(check(dataset))


def rename_cases(dataset, names):
    folders = [raw_of(dataset) / "imagesTr", raw_of(dataset) / "labelsTr", dataset / "gt_segmentations"]
    for folder in (*folders, dataset / f"{PLANS}_2d"):
        for file in sorted(folder.glob("case_*")):
            old = file.name[: len(CASES[0])]
            file.rename(file.with_name(f"new_{names[old]}{file.name[len(old) :]}"))
        for file in sorted(folder.glob("new_*")):
            file.rename(file.with_name(file.name.removeprefix("new_")))


def test_splits_with_unknown_cases_or_of_another_form(dataset):
    write_json([{"train": ["ghost"], "val": [CASES[0]]}], dataset / "splits_final.json")
    assert "not preprocessed: ghost" in only_problem(check(dataset), Level.ERROR).message
    write_json([{"training": [], "val": []}], dataset / "splits_final.json")
    assert "no list of folds" in only_problem(check(dataset), Level.ERROR).message
    (dataset / "splits_final.json").write_text("{")
    assert "is not valid JSON" in only_problem(check(dataset), Level.ERROR).message


def test_unlabeled_images_that_wait_for_preprocessing(dataset):
    unlabeled = raw_of(dataset) / "imagesUn"
    unlabeled.mkdir()
    shutil.copy(raw_of(dataset) / "imagesTr" / f"{CASES[0]}_0000.nii.gz", unlabeled / "new_0000.nii.gz")
    problem = only_problem(check(dataset), Level.WARNING)
    assert "1 scan(s) in imagesUn, such as new, are not preprocessed for 2d, so no training" in problem.message
    assert problem.remedy == f"nnunet_pix2rep preprocess_unlabeled -d 901 -c 2d -p {PLANS}"


def test_a_scan_that_came_after_the_others_were_preprocessed(dataset):
    test_unlabeled_images_that_wait_for_preprocessing(dataset)
    preprocess_unlabeled(dataset.name, "2d", PLANS, num_processes=1)
    shutil.copy(raw_of(dataset) / "imagesTr" / f"{CASES[1]}_0000.nii.gz", raw_of(dataset) / "imagesUn/late_0000.nii.gz")
    assert "1 scan(s) in imagesUn, such as late," in only_problem(check(dataset), Level.WARNING).message


def test_scans_that_another_configuration_has_are_a_note(dataset):
    plans = read_json(dataset / f"{PLANS}.json")
    plans["configurations"]["2d_other"] = {"inherits_from": "2d", "data_identifier": f"{PLANS}_2d_other"}
    write_json(plans, dataset / f"{PLANS}.json")
    test_unlabeled_images_that_wait_for_preprocessing(dataset)
    preprocess_unlabeled(dataset.name, "2d_other", PLANS, num_processes=1)
    findings = check(dataset)
    assert sound(findings)
    (note,) = [finding.message for finding in findings if "such as new" in finding.message]
    assert "are not preprocessed for 2d, but for 2d_other" in note
    assert f"nnunet_pix2rep doctor -d 901 -p {PLANS} -c 2d_other" in note
    shutil.copy(raw_of(dataset) / "imagesTr" / f"{CASES[1]}_0000.nii.gz", raw_of(dataset) / "imagesUn/late_0000.nii.gz")
    assert "2 scan(s) in imagesUn, such as late," in only_problem(check(dataset), Level.WARNING).message


def test_a_pool_of_other_plans_or_without_a_record(dataset):
    test_unlabeled_images_that_wait_for_preprocessing(dataset)
    preprocess_unlabeled(dataset.name, "2d", PLANS, num_processes=1)
    assert sound(check(dataset))
    record = dataset / f"{PLANS}_2d_unlabeled.json"
    content = json.loads(record.read_text())
    content["preprocessing"]["spacing"] = [9.0, 9.0]
    write_json(content, record)
    assert "another spacing" in only_problem(check(dataset), Level.ERROR).message
    Path(record).unlink()
    assert "has no" in only_problem(check(dataset), Level.ERROR).message


def test_each_setting_that_differs_is_counted_also_within_a_part(dataset):
    def summary(block):
        change_plans(dataset, lambda configuration: configuration.update(pix2rep=block))
        (finding,) = (finding for finding in check(dataset) if finding.subject == "plans")
        return finding.message.rpartition("], ")[2]

    views = {"zoom": [1.0, 1.0], "noise_probability": 0.0, "blur_probability": 0.0}
    assert summary({"pretraining": {"views": views, "seed": 3}, "finetuning": {"head_lr": 0.5}}) == (
        "5 settings of Pix2Rep differ from the defaults"
    )
    assert summary({"pretraining": {"seed": 3}}) == "1 setting of Pix2Rep differs from the defaults"
    assert summary({"pretraining": {"seed": 0}}) == "Pix2Rep's defaults"


def test_no_remedy_replaces_the_plans_of_the_user(dataset):
    """Each of these was answered with plan --overwrite once."""
    remedies = []
    (dataset / "dataset.json").rename(dataset / "away.json")
    problem = only_problem(check(dataset), Level.ERROR)
    assert problem.remedy == f"cp {raw_of(dataset) / 'dataset.json'} {dataset}"
    remedies.append(problem.remedy)
    (dataset / "away.json").rename(dataset / "dataset.json")
    remedies.append(only_problem(check(dataset, "4d"), Level.ERROR).remedy)
    remedies.append(only_problem(check(dataset, "2d", "NoPlans"), Level.ERROR).remedy)
    change_plans(dataset, lambda configuration: configuration["architecture"].update(arch_kwargs={}))
    remedies.append(only_problem(check(dataset), Level.ERROR).remedy)
    (dataset / f"{PLANS}.json").write_text("{")
    remedies.append(only_problem(check(dataset), Level.ERROR).remedy)
    assert not [remedy for remedy in remedies if "--overwrite" in remedy or "nnUNetv2_plan" in remedy]


def test_a_plans_name_that_is_not_the_name_of_the_file(dataset):
    (dataset / f"{PLANS}.json").rename(dataset / "Copied.json")
    problem = only_problem(check(dataset, plans="Copied"), Level.ERROR)
    assert f'"plans_name": "{PLANS}"' in problem.message
    assert problem.remedy.startswith(f'set "plans_name" in {dataset / "Copied.json"} to "Copied"')


def test_a_case_that_nnunet_takes_for_a_segmentation(dataset):
    folders = [raw_of(dataset) / "imagesTr", raw_of(dataset) / "labelsTr", dataset / "gt_segmentations"]
    for folder in (*folders, dataset / f"{PLANS}_2d"):
        for file in sorted(folder.glob("case_03*"), reverse=True):
            file.rename(file.with_name(file.name.replace("case_03", "case_03_seg", 1)))
    write_json([{"train": list(CASES[:2]), "val": list(CASES[4:])}], dataset / "splits_final.json")
    problem = only_problem(check(dataset), Level.ERROR)
    assert "case_03_seg" in problem.message
    assert "takes their preprocessed images for segmentations" in problem.message
    assert "rename them" in problem.remedy
