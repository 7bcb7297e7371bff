from copy import deepcopy
from pathlib import Path

import pytest
import torch
from nnunetv2.paths import nnUNet_results
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.run.run_training import run_training
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_training import (
    CASES,
    DATASET,
    PLANS,
    REGIONS,
    RESIDUAL_PLANS,
    make_tiny_dataset,
    make_trainer,
    prepare_for_training,
)

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.finetuning.mean_teacher import Pix2RepMeanTeacherTrainer
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain

pytestmark = pytest.mark.slow

IGNORE = {"background": 0, "ring": 1, "core": 2, "ignore": 3}
ONE_EPOCH = {"pretraining": {"num_epochs": 1}, "finetuning": {"num_epochs": 1}}


class MeanTeacher(Pix2RepMeanTeacherTrainer):
    needs_pretrained_weights = False


def pretrain_and_finetune(folder, configuration="2d", plans_name=PLANS, finetune_class=Pix2RepFinetuneTrainer):
    """Both stages in fold 0; returns the fine-tuning trainer."""
    place = {"configuration": configuration, "plans_name": plans_name}
    make_trainer(nnUNetTrainerPix2RepPretrain, folder, **place, **ONE_EPOCH).run_training()
    trainer = make_trainer(finetune_class, folder, **place, **ONE_EPOCH)
    trainer.run_training()
    return trainer


def check_validation(trainer):
    trainer.perform_actual_validation()
    folder = Path(trainer.output_folder) / "validation"
    assert {file.name for file in folder.glob("*.nii.gz")} == {f"{case}.nii.gz" for case in CASES[4:]}
    assert "foreground_mean" in read_json(folder / "summary.json")


@pytest.fixture
def special(tmp_path, monkeypatch):
    """Makes tiny datasets that differ from the ordinary one."""

    def make(**options):
        folder = make_tiny_dataset(tmp_path, **options)
        prepare_for_training(monkeypatch, folder, tmp_path)
        return folder

    return make


def test_several_channels(special):
    trainer = pretrain_and_finetune(special(num_channels=3))
    assert trainer.network.encoder.stages[0][0].convs[0].conv.in_channels == 3
    check_validation(trainer)


@pytest.mark.parametrize("finetune_class", [Pix2RepFinetuneTrainer, MeanTeacher])
def test_regions(special, finetune_class):
    trainer = pretrain_and_finetune(special(labels=REGIONS), finetune_class=finetune_class)
    assert trainer.label_manager.has_regions
    check_validation(trainer)


@pytest.mark.parametrize("labels", [REGIONS, IGNORE])
def test_pretraining_never_reads_labels(special, labels):
    folder = special(labels=labels)
    for file in folder.glob(f"{PLANS}_2d/*"):
        if file.name.endswith(("_seg.b2nd", ".pkl")):
            file.unlink()
    trainer = make_trainer(nnUNetTrainerPix2RepPretrain, folder, **ONE_EPOCH)
    trainer.run_training()
    assert Path(trainer.output_folder, "checkpoint_final.pth").is_file()


def test_3d_residual(tiny):
    check_validation(pretrain_and_finetune(tiny, "3d_fullres", RESIDUAL_PLANS))


def test_3d_lowres_that_feeds_a_cascade(own_tiny):
    plans = read_json(own_tiny / f"{PLANS}.json")
    configurations = plans["configurations"]
    configurations["3d_lowres"] = configurations["3d_fullres"] | {"next_stage": "3d_cascade_fullres"}
    configurations["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    write_json(plans, own_tiny / f"{PLANS}.json")
    trainer = pretrain_and_finetune(own_tiny, "3d_lowres")
    assert Path(trainer.output_folder, "checkpoint_final.pth").is_file()
    plans = deepcopy(plans) | {"continue_training": False}
    for trainer_class in (nnUNetTrainerPix2RepPretrain, Pix2RepFinetuneTrainer):
        with pytest.raises(UserError, match=r"second stage of a cascade.* segmentation of 3d_lowres"):
            trainer_class(deepcopy(plans), "3d_cascade_fullres", 0, read_json(own_tiny / "dataset.json"))


@pytest.mark.parametrize(("configuration", "plans_name"), [("2d", PLANS), ("3d_fullres", RESIDUAL_PLANS)])
def test_stock_nnunet_starts_from_a_pretraining(tiny, configuration, plans_name):
    place = {"configuration": configuration, "plans_name": plans_name}
    pretraining = make_trainer(nnUNetTrainerPix2RepPretrain, tiny, **place, **ONE_EPOCH)
    pretraining.run_training()
    file = Path(pretraining.output_folder) / "checkpoint_final.pth"

    trainer = make_trainer(nnUNetTrainer, tiny, **place)
    trainer.initialize()
    load_pretrained_weights(trainer.network, str(file))
    weights = torch.load(file, weights_only=True)["network_weights"]
    own = trainer.network.state_dict()
    assert own.keys() == weights.keys()
    assert all(torch.equal(own[key], weights[key]) for key in own if ".seg_layers." not in key)


# --------------------------------------------------------------------------------------------------------- command line


def type_train(fold="0", trainer="nnUNetTrainerPix2RepFinetune", **options):
    run_training(DATASET, "2d", fold, trainer, PLANS, device=torch.device("cpu"), **options)


def results(trainer, fold=0):
    return Path(nnUNet_results) / DATASET / f"{trainer}__{PLANS}__2d" / f"fold_{fold}"


def test_pretrained_weights_val_and_npz(tiny, pretrained_checkpoint):
    type_train(pretrained_weights=str(pretrained_checkpoint))
    folder = results("nnUNetTrainerPix2RepFinetune")
    first = read_json(folder / "validation" / "summary.json")["foreground_mean"]["Dice"]
    type_train(only_run_validation=True, export_validation_probabilities=True)
    assert read_json(folder / "validation" / "summary.json")["foreground_mean"]["Dice"] == pytest.approx(first)
    assert len(list((folder / "validation").glob("*.npz"))) == 2


def test_the_teacher_validates_again_with_val(tiny):
    trainer = "nnUNetTrainerPix2RepMeanTeacherScratch"
    type_train(trainer=trainer)
    summary = results(trainer) / "validation" / "summary.json"
    first = read_json(summary)["foreground_mean"]["Dice"]
    type_train(trainer=trainer, only_run_validation=True)
    assert read_json(summary)["foreground_mean"]["Dice"] == pytest.approx(first)


def test_val_of_a_pretraining_writes_its_summary_again(tiny):
    trainer = "nnUNetTrainerPix2RepPretrain"
    type_train(trainer=trainer)
    summary = results(trainer) / "pretraining_summary.json"
    first = read_json(summary)
    summary.unlink()
    type_train(trainer=trainer, only_run_validation=True)
    second = read_json(summary)
    assert {key: first[key] for key in ("cases", "held_out_patients", "diagnostics", "epochs")} == {
        key: second[key] for key in ("cases", "held_out_patients", "diagnostics", "epochs")
    }


@pytest.mark.parametrize("trainer", ["nnUNetTrainerPix2RepPretrain", "nnUNetTrainerPix2RepFinetuneScratch"])
def test_disabled_checkpointing_writes_none(tiny, trainer):
    type_train(trainer=trainer, disable_checkpointing=True)
    assert list(results(trainer).glob("*.pth")) == []


def test_continuing_a_finished_training_changes_nothing(tiny):
    trainer = "nnUNetTrainerPix2RepFinetuneScratch"
    type_train(trainer=trainer)
    final = results(trainer) / "checkpoint_final.pth"
    before = load_checkpoint_file(final)
    type_train(trainer=trainer, continue_training=True)
    after = load_checkpoint_file(final)
    assert before["current_epoch"] == after["current_epoch"]
    assert all(torch.equal(value, after["network_weights"][key]) for key, value in before["network_weights"].items())


def test_stock_nnunet_with_the_configured_length(tiny):
    type_train(trainer="nnUNetTrainerConfiguredLength")
    checkpoint = load_checkpoint_file(results("nnUNetTrainerConfiguredLength") / "checkpoint_final.pth")
    assert checkpoint["current_epoch"] == 3


def test_fold_all(tiny):
    type_train("all", "nnUNetTrainerPix2RepPretrain")
    type_train("all")
    record = load_checkpoint_file(results("nnUNetTrainerPix2RepPretrain", "all") / "checkpoint_final.pth")["pix2rep"]
    assert record["cases"] == list(CASES)
    assert record["held_out_patients"] == []


def test_a_pretraining_on_all_images_is_refused_in_a_numbered_fold(tiny):
    type_train("all", "nnUNetTrainerPix2RepPretrain")
    file = results("nnUNetTrainerPix2RepPretrain", "all") / "checkpoint_final.pth"
    with pytest.raises(UserError, match="2 of this fold's 2 validation cases: case_04, case_05"):
        type_train(pretrained_weights=str(file))
