"""Checkpoints that version 0.1.0 wrote, of two of three epochs of a pretraining and of a fine-tuning of it, still load.

They are of the data and the plans of tests/tiny_training.py, with settings of their own.
"""

import shutil
from pathlib import Path

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_training import CASES, assert_equal_weights, differing, make_trainer, weights_of

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.finetuning.two_stages import find_finished
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepV2Pretrain

FOLDER = Path(__file__).with_name("version_0.1.0")
PRETRAINING, FINETUNING = FOLDER / "pretraining.pth", FOLDER / "finetuning.pth"
SETTINGS = {
    "temperature": 0.3,
    "redundancy_weight": 0.01,
    "elastic_probability": 0.25,
    "info_nce_negatives": 30,
    "mask_ratio": 0.6,
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
    settings = load(PRETRAINING).config.pretraining
    assert {name: getattr(settings, name) for name in SETTINGS} == SETTINGS


def test_training_in_two_stages_finds_a_pretraining_of_its_own_settings(tiny, tmp_path):
    (tmp_path / "fold_0").mkdir()
    final = shutil.copy(PRETRAINING, tmp_path / "fold_0" / "checkpoint_final.pth")
    for settings, expected in ((SETTINGS, Path(final)), (SETTINGS | {"temperature": 0.4}, None)):
        config = make_trainer(nnUNetTrainerPix2RepV2Pretrain, tiny, pretraining=settings).config
        assert find_finished(tmp_path, config.to_block()["pretraining"], list(CASES[4:])) == expected
