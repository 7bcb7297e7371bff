import pytest
import torch
from findings_of import only_problem, sound
from tiny_training import CASES, PLANS, make_trainer

from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.doctor import environment
from nnunet_pix2rep.doctor.checkpoint import check_checkpoint
from nnunet_pix2rep.doctor.dataset import DatasetCheck
from nnunet_pix2rep.doctor.findings import Level
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file, save_checkpoint_file
from nnunet_pix2rep.nnunet.checkpoints.input_channels import input_convolution_keys
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain


@pytest.fixture
def basis(dataset):
    """Planned network and folder of the dataset."""
    check = DatasetCheck(dataset.name, "2d", PLANS)
    check.run()
    return check.network, check.folder


@pytest.fixture
def checkpoint(dataset):
    """A pretraining of fold 0 that has done nothing yet, with the record of one that has."""
    trainer = make_trainer(nnUNetTrainerPix2RepPretrain, dataset)
    trainer.initialize()
    trainer.cases_used = list(CASES[:4])
    file = dataset.parents[1] / "pretrained.pth"
    trainer.save_checkpoint(str(file))
    return file


def change(file, function):
    content = load_checkpoint_file(file)
    function(content)
    save_checkpoint_file(content, file)
    return file


def test_a_checkpoint_for_its_own_fold(checkpoint, basis):
    assert sound(check_checkpoint(checkpoint, *basis, fold=0))
    assert sound(check_checkpoint(checkpoint, None, None))


def test_folds_whose_validation_patients_it_has_seen(checkpoint, basis, dataset):
    problem = only_problem(check_checkpoint(checkpoint, *basis), Level.WARNING)
    assert "seen validation patients of fold 2; folds 0, 1 may start from it" in problem.message
    assert "fold 2: case_00, case_01" in only_problem(check_checkpoint(checkpoint, *basis, 2), Level.ERROR).message
    write_json([{"train": [], "val": list(CASES[:2])}], dataset / "splits_final.json")
    assert "no fold may start from it" in only_problem(check_checkpoint(checkpoint, *basis), Level.ERROR).message


def test_a_file_that_is_damaged_or_missing(dataset, basis):
    file = dataset / "damaged.pth"
    file.write_bytes(b"damaged")
    assert "damaged" in only_problem(check_checkpoint(file, *basis), Level.ERROR).message
    assert "no checkpoint" in only_problem(check_checkpoint(dataset / "none.pth", *basis), Level.ERROR).message


def test_weights_of_another_shape_or_missing(checkpoint, basis):
    key = "encoder.stages.0.0.convs.0.conv.weight"
    change(checkpoint, lambda content: content["network_weights"].update({key: torch.zeros(8, 1, 3, 3)}))
    message = only_problem(check_checkpoint(checkpoint, basis[0], None), Level.ERROR).message
    assert f"{key} (8, 1, 3, 3), the plans want (4, 1, 3, 3)" in message
    change(checkpoint, lambda content: content["network_weights"].pop(key))
    assert key in only_problem(check_checkpoint(checkpoint, basis[0], None), Level.ERROR).message


def test_a_checkpoint_made_with_other_versions(checkpoint, basis):
    change(checkpoint, lambda content: content["pix2rep"]["package_versions"].update(nnunetv2="2.8.0"))
    problem = only_problem(check_checkpoint(checkpoint, *basis, 0), Level.WARNING)
    assert "nnunetv2 2.8.0 there" in problem.message
    assert problem.remedy == "pip install nnunetv2==2.8.0"


def test_a_checkpoint_of_stock_nnunet_says_that_its_past_is_unknown(checkpoint, basis):
    change(checkpoint, lambda content: content.pop("pix2rep"))
    findings = check_checkpoint(checkpoint, *basis)
    assert sound(findings)
    assert "not known" in findings[0].message


def test_another_number_of_input_channels_is_an_error_that_names_the_setting_unless_it_is_set(checkpoint, basis):
    network = basis[0]

    def of_two_channels(content):
        weights = content["network_weights"]
        weights.update({key: torch.cat([weights[key]] * 2, dim=1) for key in input_convolution_keys(network)})

    change(checkpoint, of_two_channels)
    problem = only_problem(check_checkpoint(checkpoint, network, None), Level.ERROR)
    assert "of a network with 2 input channel(s), the plans want 1" in problem.message
    assert problem.remedy.endswith("--set finetuning.other_input_channels=adapt")
    config = Pix2RepConfig().with_settings(["finetuning.other_input_channels=adapt"])
    findings = check_checkpoint(checkpoint, network, None, config=config)
    assert sound(findings)
    assert "Finetuning will adapt the first convolution" in findings[-1].message


def test_the_command_hands_the_plans_settings_on(checkpoint, dataset, capsys, monkeypatch):
    monkeypatch.setattr(environment, "check_environment", list)

    def of_two_channels(content):
        weights = content["network_weights"]
        first = [key for key, value in weights.items() if value.shape == (4, 1, 3, 3)]
        weights.update({key: torch.cat([weights[key]] * 2, dim=1) for key in first})

    change(checkpoint, of_two_channels)
    command = ["doctor", "-d", dataset.name, "-c", "2d", "-p", PLANS, "--checkpoint", str(checkpoint)]
    assert main(command) == 1
    number = int(dataset.name[len("Dataset") :][:3])
    remedy = f"nnunet_pix2rep plan -d {number} -c 2d -p {PLANS} -o {PLANS}_adapt --set finetuning.other_input_channels"
    assert remedy in capsys.readouterr().out
    plans = read_json(dataset / f"{PLANS}.json")
    plans["configurations"]["2d"]["pix2rep"]["pretraining"]["other_input_channels"] = "adapt"
    write_json(plans, dataset / f"{PLANS}.json")
    capsys.readouterr()
    main(command)
    assert "Pretraining will adapt the first convolution" in capsys.readouterr().out


@pytest.mark.parametrize("fold", [None, 2])
def test_weights_that_do_not_serve_are_trained_again_by_a_command_for_this_dataset(checkpoint, dataset, capsys, fold):
    if fold is None:
        key = "encoder.stages.0.0.convs.0.conv.weight"
        change(checkpoint, lambda content: content["network_weights"].update({key: torch.zeros(8, 1, 3, 3)}))
    of_fold = [] if fold is None else ["-f", str(fold)]
    main(["doctor", "-d", dataset.name, "-c", "2d", "-p", PLANS, *of_fold, "--checkpoint", str(checkpoint)])
    number = int(dataset.name[len("Dataset") :][:3])
    trained = f"nnUNetv2_train {number} 2d {'FOLD' if fold is None else fold} -p {PLANS} "
    assert f"{trained}-tr nnUNetTrainerPix2RepV2Pretrain" in capsys.readouterr().out


@pytest.mark.parametrize("content", ["[", '[{"train": []}]', '{"train": [], "val": []}'])
def test_a_damaged_split_is_a_finding_and_the_others_are_shown_too(checkpoint, basis, dataset, content):
    (dataset / "splits_final.json").write_text(content)
    findings = check_checkpoint(checkpoint, *basis)
    assert "splits_final.json" in only_problem(findings, Level.ERROR).message
    assert len(findings) > 1
