import os
from pathlib import Path

import pytest
from nnunetv2.training.logging import nnunet_logger
from tiny_training import CASES, PLANS, make_trainer

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.training.finetuning.two_stages import Pix2RepBothStagesTrainer
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import (
    nnUNetTrainerPix2RepPretrain,
    nnUNetTrainerPix2RepV2Pretrain,
)


class BothStages(Pix2RepBothStagesTrainer):
    pretraining_class = nnUNetTrainerPix2RepPretrain


class BothStagesV2(Pix2RepBothStagesTrainer):
    pretraining_class = nnUNetTrainerPix2RepV2Pretrain


def run(folder, fold=0, trainer_class=BothStages, resume=False, **settings):
    trainer = make_trainer(trainer_class, folder, fold, **settings)
    if resume:
        trainer.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_latest.pth"))
    trainer.run_training()
    return trainer


def pretrainings(trainer):
    """Folds with a finished pretraining."""
    results = Path(trainer.output_folder_base).parent
    return sorted(
        file.parent.name for file in results.glob(f"{trainer.pretraining_class.__name__}__*/fold_*/*final.pth")
    )


def start_of(trainer):
    final = load_checkpoint_file(Path(trainer.output_folder) / "checkpoint_final.pth")
    return final[RECORD_KEY]["pretrained"]["file"]


@pytest.mark.parametrize("trainer_class", [BothStages, BothStagesV2])
def test_both_stages_run_in_one_training(tiny, trainer_class):
    trainer = run(tiny, trainer_class=trainer_class)
    assert pretrainings(trainer) == ["fold_0"]
    record = load_checkpoint_file(start_of(trainer))[RECORD_KEY]
    assert record["trainer"] == trainer_class.pretraining_class.__name__
    assert set(record["cases"]) == set(CASES[:4])
    (log,) = Path(start_of(trainer)).parent.glob("training_log_*.txt")
    assert "Pretraining complete" in log.read_text()
    assert "Fine-tune with" not in log.read_text()  # which is what happens next


def test_folds_with_the_same_validation_patients_share_a_pretraining(tiny):
    first = run(tiny, fold=0)
    written = Path(start_of(first)).stat().st_mtime_ns
    second = run(tiny, fold=1)
    assert start_of(second) == start_of(first)
    assert pretrainings(second) == ["fold_0"]
    assert Path(start_of(first)).stat().st_mtime_ns == written
    assert not Path(start_of(first)).parents[1].joinpath("fold_1").exists()


def test_other_validation_patients_get_their_own_pretraining(tiny):
    run(tiny, fold=0)
    other = run(tiny, fold=2)
    assert pretrainings(other) == ["fold_0", "fold_2"]
    assert "fold_2" in start_of(other)


def test_other_settings_of_fine_tuning_share_a_pretraining(tiny):
    run(tiny)
    assert pretrainings(run(tiny, fold=1, finetuning={"head_lr": 0.1})) == ["fold_0"]


@pytest.mark.parametrize("finished", [True, False])
def test_a_pretraining_with_other_settings_is_not_overwritten(tiny, finished):
    trainer = run(tiny)
    final = Path(start_of(trainer))
    if not finished:
        final.rename(final.with_name("checkpoint_latest.pth"))
        final = final.with_name("checkpoint_latest.pth")
    content = final.read_bytes()
    with pytest.raises(UserError, match="holds a pretraining with other settings or other held-out patients"):
        run(tiny, pretraining={"info_nce": {"temperature": 0.3}})
    assert final.read_bytes() == content


def test_a_pretraining_under_other_plans_is_not_used(own_tiny):
    final = Path(start_of(run(own_tiny)))
    content = final.read_bytes()
    plans = read_json(own_tiny / f"{PLANS}.json")
    plans["configurations"]["2d"]["spacing"] = [3.0, 3.0]
    write_json(plans, own_tiny / f"{PLANS}.json")
    with pytest.raises(UserError, match="or under other plans"):
        run(own_tiny)
    assert final.read_bytes() == content


def test_a_pretraining_with_other_held_out_patients_is_not_used(own_tiny):
    run(own_tiny)
    splits = read_json(own_tiny / "splits_final.json")
    splits[0]["val"] = splits[0]["val"][:1]
    write_json(splits, own_tiny / "splits_final.json")
    with pytest.raises(UserError, match="other held-out patients"):
        run(own_tiny)


class StoppedError(RuntimeError):
    pass


@pytest.mark.parametrize("stage", [1, 2])
def test_an_interrupted_training_goes_on_in_its_stage(tiny, monkeypatch, stage):
    stopping_class = nnUNetTrainerPix2RepPretrain if stage == 1 else BothStages
    epochs = []

    def note(trainer):
        epochs.append((type(trainer).__name__, trainer.current_epoch))
        if isinstance(trainer, stopping_class) and trainer.current_epoch == 1 and not resuming:
            raise StoppedError
        return start(trainer)

    start = stopping_class.on_epoch_start
    monkeypatch.setattr("nnunetv2.training.nnUNetTrainer.nnUNetTrainer.nnUNetTrainer.on_epoch_start", note)
    resuming = False
    with pytest.raises(StoppedError):
        run(tiny)
    resuming = True
    epochs.clear()
    trainer = run(tiny, resume=stage == 2)
    assert epochs[0] == (stopping_class.__name__, 1)
    assert pretrainings(trainer) == ["fold_0"]
    assert ("nnUNetTrainerPix2RepPretrain" in {name for name, _ in epochs}) == (stage == 1)


def test_given_weights_need_no_pretraining(tiny, pretrained_checkpoint):
    trainer = make_trainer(BothStages, tiny)
    trainer.initialize()
    trainer.load_pretrained(pretrained_checkpoint)
    trainer.run_training()
    assert pretrainings(trainer) == []


def test_stage_1_writes_its_checkpoint_with_checkpointing_disabled(tiny):
    trainer = make_trainer(BothStages, tiny)
    trainer.disable_checkpointing = True
    trainer.run_training()
    assert pretrainings(trainer) == ["fold_0"]
    assert list(Path(trainer.output_folder).glob("*.pth")) == []


def test_weights_and_biases_gets_stage_2_alone(tiny, monkeypatch):
    made, logged = [], []

    class Run:
        """Stands for nnU-Net's logger of Weights & Biases, which has one run in a process."""

        def __init__(self, output_folder, _resume):
            made.append(output_folder)

        def update_config(self, config):
            pass

        def log(self, key, _value, step):
            logged.append((key, step))

        def log_summary(self, key, value):
            pass

    monkeypatch.setattr(nnunet_logger, "WandbLogger", Run)
    monkeypatch.setenv("nnUNet_wandb_enabled", "1")
    before = dict(os.environ)
    trainer = run(tiny)
    assert made == [trainer.output_folder]
    assert [step for key, step in logged if key == "train_losses"] == [0, 1, 2]
    assert dict(os.environ) == before
    local_log = load_checkpoint_file(start_of(trainer))["logging"]
    assert len(local_log["train_losses"]) == len(local_log["alignment"]) == 3
