"""Checkpoints that version 0.1.0 wrote, of two of three epochs of a pretraining and of a fine-tuning of it, still load.

They are of the data and the plans of tests/helpers/tiny_training.py, with settings of their own.
"""

import dataclasses
import shutil
from pathlib import Path

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tiny_training import CASES, assert_equal_weights, differing, make_trainer, weights_of

from nnunet_pix2rep.config.merge import picked
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.finetuning.linear_probe import Pix2RepLinearProbeTrainer
from nnunet_pix2rep.nnunet.training.finetuning.wanted_pretraining import (
    WantedPretraining,
    find_finished,
    planned_for_pretraining,
)
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepV2Pretrain

FOLDER = Path(__file__).with_name("version_0.1.0")
PRETRAINING, FINETUNING = FOLDER / "pretraining.pth", FOLDER / "finetuning.pth"
SETTINGS = {
    "info_nce": {"temperature": 0.3, "negatives": 30},
    "barlow_twins": {"redundancy_weight": 0.01},
    "views": {"elastic_probability": 0.25},
    "masked_autoencoder": {"mask_ratio": 0.6},
}


def test_a_pretraining_goes_on(tiny):
    trainer = make_trainer(nnUNetTrainerPix2RepV2Pretrain, tiny, pretraining=SETTINGS)
    trainer.load_checkpoint(str(PRETRAINING))
    assert trainer.current_epoch == 2
    assert_equal_weights(weights_of(trainer.planned_network), load_checkpoint_file(PRETRAINING)["network_weights"])
    trainer.run_training()
    assert trainer.current_epoch == 3
    assert trainer.cases_used == list(CASES[:4])
    logged = trainer.logger.get_checkpoint()["train_losses"]
    assert logged[:2] == load_checkpoint_file(PRETRAINING)["logging"]["train_losses"]
    assert len(logged) == 3


def test_fine_tuning_takes_a_pretraining_and_guards_against_leaks(tiny):
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny)
    trainer.initialize()
    trainer.load_pretrained(PRETRAINING)
    assert trainer.pretrained_record["loss"] == "barlow_twins"
    leaking = make_trainer(Pix2RepFinetuneTrainer, tiny, fold=2)
    leaking.initialize()
    with pytest.raises(UserError, match="have seen images of the patients"):
        leaking.load_pretrained(PRETRAINING)


def test_stock_nnunet_takes_a_pretraining(tiny):
    stock = make_trainer(nnUNetTrainer, tiny)
    stock.initialize()
    before = weights_of(stock.network)
    load_pretrained_weights(stock.network, str(PRETRAINING))
    assert differing(before, weights_of(stock.network)) > {"encoder.stages.0.0.convs.0.conv.weight"}


def test_a_pretraining_starts_from_a_fine_tuning_and_from_a_pretraining(tiny):
    for file in (PRETRAINING, FINETUNING):
        trainer = make_trainer(nnUNetTrainerPix2RepV2Pretrain, tiny)
        trainer.initialize()
        trainer.warm_start.load(file)
        assert trainer.warm_start.origin["cases"] == list(CASES[:4])


def test_a_fine_tuning_goes_on(tiny):
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny)
    trainer.load_checkpoint(str(FINETUNING))
    assert trainer.current_epoch == 2
    trainer.run_training()
    assert trainer.pretrained_record["loss"] == "barlow_twins"


@pytest.mark.parametrize(("file", "channels"), [(PRETRAINING, 8), (FINETUNING, 12)], ids=["pretraining", "finetuning"])
def test_features_are_those_that_the_checkpoint_has(load, file, channels):
    model = load(file)
    assert model.network(torch.randn(1, 1, 24, 24), torch.zeros(5, 2)).shape == (5, channels)


def test_the_settings_are_those_of_the_training(load):
    found = dataclasses.asdict(load(PRETRAINING).config.pretraining)
    assert picked(found, SETTINGS) == SETTINGS
    assert found["head"] == {"hidden_channels": 8, "channels": 8}


def test_training_in_two_stages_finds_a_pretraining_of_its_own_settings(tiny, tmp_path):
    (tmp_path / "fold_0").mkdir()
    final = shutil.copy(PRETRAINING, tmp_path / "fold_0" / "checkpoint_final.pth")
    for settings, expected in ((SETTINGS, Path(final)), (SETTINGS | {"info_nce": {"temperature": 0.4}}, None)):
        trainer = make_trainer(nnUNetTrainerPix2RepV2Pretrain, tiny, pretraining=settings)
        planned = planned_for_pretraining(trainer.plans_manager.plans, "2d")
        assert find_finished(tmp_path, WantedPretraining(trainer.config, list(CASES[4:]), planned)) == expected


@pytest.mark.parametrize(("features", "reads_all_stages"), [("hypercolumn", True), ("last_stage", False)])
def test_prediction_with_a_linear_probe_reads_the_plans_beside_it(features, reads_all_stages):
    """nnU-Net builds the network from the plans that the training has left, with the names of then."""
    plans = load_checkpoint_file(FINETUNING)["init_args"]["plans"]
    block = plans["configurations"]["2d"]["pix2rep"]["pretraining"]
    assert block["projection_channels"] == 8
    block["features"] = features
    manager = PlansManager(plans)
    network = Pix2RepLinearProbeTrainer.build_network_architecture(
        manager, manager.get_configuration("2d"), 1, 3, False
    )
    assert bool(network.decoder._forward_hooks) == reads_all_stages
    assert network(torch.zeros(1, 1, 24, 24)).shape == (1, 3, 24, 24)


def test_training_on_plans_of_then_says_what_to_rename(tiny):
    plans = load_checkpoint_file(FINETUNING)["init_args"]["plans"] | {"continue_training": False}
    with pytest.raises(
        UserError, match=r'"pix2rep.pretraining.num_points" in plans TinyPlans.*sampling.num_points" now'
    ):
        nnUNetTrainerPix2RepV2Pretrain(plans, "2d", 0, read_json(tiny / "dataset.json"), torch.device("cpu"))
