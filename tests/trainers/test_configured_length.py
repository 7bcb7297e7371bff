"""Stock nnU-Net with a configured length has the guards of the other trainers."""

import pytest
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from tiny_training import CASES, PLANS, make_tiny_dataset, make_trainer, prepare_for_training, training_log

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    folder = make_tiny_dataset(tmp_path)
    prepare_for_training(monkeypatch, folder, tmp_path)
    return folder


@pytest.fixture
def trainer_class(tiny):
    return recursive_find_trainer_class_by_name("nnUNetTrainerConfiguredLength")


def test_weights_that_saw_the_validation_patients_are_refused(tiny, trainer_class, tmp_path, monkeypatch):
    pretraining = make_trainer(nnUNetTrainerPix2RepPretrain, tiny, 2)
    pretraining.initialize()
    pretraining.cases_used = list(CASES[2:])
    pretraining.save_checkpoint(str(tmp_path / "pretraining.pth"))

    def start(fold):
        trainer = make_trainer(trainer_class, tiny, fold)
        maybe_load_checkpoint(trainer, False, False, str(tmp_path / "pretraining.pth"))
        return trainer

    start(2)
    with pytest.raises(UserError, match="case_04, case_05"):
        start(0)
    monkeypatch.setenv("nnUNet_pix2rep_allow_transductive", "1")
    assert "WARNING: transductive" in training_log(start(0))


@pytest.mark.parametrize("fold", [3, -1])
@pytest.mark.parametrize("has_splits", [True, False])
def test_folds_that_do_not_exist_are_refused(tiny, trainer_class, fold, has_splits):
    if not has_splits:
        (tiny / "splits_final.json").unlink()
        fold += 4 if fold > 0 else 0
    with pytest.raises(UserError, match=f"Fold {fold} does not exist"):
        make_trainer(trainer_class, tiny, fold).do_split()


def test_a_block_beside_the_configurations_is_refused(tiny, trainer_class):
    plans = read_json(tiny / f"{PLANS}.json") | {"continue_training": False, "pix2rep": {}}
    with pytest.raises(UserError, match="beside the configurations"):
        trainer_class(plans, "2d", 0, read_json(tiny / "dataset.json"))
