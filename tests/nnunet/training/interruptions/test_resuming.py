import random
from pathlib import Path

import numpy as np
import pytest
import torch
from interrupted_runs import FINAL, LATEST, PREVIOUS, TRAINERS, file_of, interrupted, resumed
from tiny_training import CASES, assert_equal_weights, make_trainer, training_log

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.random_state import get_random_state, set_random_state
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain


def seed():
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_a_resumed_run_ends_as_an_uninterrupted_one(tiny, monkeypatch, tmp_path, trainer_class):
    contents = []
    for is_interrupted in (False, True):
        monkeypatch.setenv("nnUNet_results", str(tmp_path / str(is_interrupted)))
        seed()
        if is_interrupted:
            interrupted(trainer_class, tiny)
            torch.manual_seed(99)
            np.random.seed(99)
        trainer = resumed(trainer_class, tiny) if is_interrupted else make_trainer(trainer_class, tiny)
        trainer.run_training()
        contents.append(load_checkpoint_file(file_of(trainer, FINAL)))
    assert_equal_weights(*(content["network_weights"] for content in contents))
    for name in ("projection_head", "reconstruction_layer", "student_weights"):
        if name in contents[0][RECORD_KEY]:
            assert_equal_weights(*(content[RECORD_KEY][name] for content in contents))
    for key in ("train_losses", "val_losses", "lrs"):
        assert contents[0]["logging"][key] == contents[1]["logging"][key]
        assert len(contents[1]["logging"][key]) == 3
    assert contents[0]["_best_ema"] == contents[1]["_best_ema"]
    states = [content["optimizer_state"]["state"] for content in contents]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][key]["exp_avg"], states[1][key]["exp_avg"]) for key in states[0])


def test_the_random_state_returns():
    state = get_random_state()
    draws = [
        (random.random(), np.random.rand(), torch.rand(1).item()) for _ in range(2) if set_random_state(state) is None
    ]
    assert draws[0] == draws[1]


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_a_finished_training_leaves_the_final_checkpoint_alone(tiny, trainer_class):
    trainer = make_trainer(trainer_class, tiny)
    trainer.run_training()
    files = {file.name for file in Path(trainer.output_folder).iterdir() if "checkpoint" in file.name}
    assert files == {FINAL, "checkpoint_best.pth"}


def damage(path, how):
    content = path.read_bytes()
    if how == "truncated":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 4
        path.write_bytes(content[:64] + bytes(middle) + content[64 + middle :])


@pytest.mark.parametrize("how", ["truncated", "zeroed"])
def test_a_damaged_latest_checkpoint_gives_way_to_the_one_before(tiny, how):
    trainer = interrupted(nnUNetTrainerPix2RepPretrain, tiny)
    assert load_checkpoint_file(file_of(trainer, LATEST))["current_epoch"] == 2
    damage(file_of(trainer, LATEST), how)
    again = resumed(nnUNetTrainerPix2RepPretrain, tiny)
    assert again.current_epoch == 1
    assert "WARNING" in training_log(again)
    assert PREVIOUS in training_log(again)
    again.run_training()
    assert len(load_checkpoint_file(file_of(again, FINAL))["logging"]["train_losses"]) == 3


def test_a_damaged_checkpoint_without_another_is_an_error(tiny):
    trainer = interrupted(nnUNetTrainerPix2RepPretrain, tiny, epoch=1)
    damage(file_of(trainer, LATEST), "truncated")
    with pytest.raises(UserError, match=r"checkpoint_latest.pth is \w+ or not a checkpoint"):
        resumed(nnUNetTrainerPix2RepPretrain, tiny)


def test_a_checkpoint_of_another_plan_is_refused(tiny, pretrained_checkpoint):
    trainer = make_trainer(nnUNetTrainerPix2RepPretrain, tiny, configuration="3d_fullres")
    with pytest.raises(UserError, match=r"is of another network: encoder\S+ has shape \(4, 1, 3, 3\)"):
        trainer.load_checkpoint(str(pretrained_checkpoint))


def test_a_pretraining_does_not_go_on_with_other_held_out_patients(own_tiny):
    interrupted(nnUNetTrainerPix2RepPretrain, own_tiny)
    splits = read_json(own_tiny / "splits_final.json")
    splits[0]["val"] = list(CASES[3:4])
    write_json(splits, own_tiny / "splits_final.json")
    with pytest.raises(
        UserError, match="was begun holding out the patients case_04, case_05, but fold 0 now holds out"
    ):
        resumed(nnUNetTrainerPix2RepPretrain, own_tiny).run_training()
