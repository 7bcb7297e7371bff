import os
import signal
from pathlib import Path

import pytest
import torch
from interrupted_runs import FINAL, LATEST, TRAINERS, Finetune, file_of, resumed, run_until
from tiny_training import assert_equal_weights, make_trainer, training_log, weights_of

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain

# ------------------------------------------------------------------------------------------------------------- SIGTERM


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_sigterm_saves_and_exits_with_143_and_the_training_goes_on(tiny, trainer_class):
    trainer = make_trainer(trainer_class, tiny, pretraining={"save_every": 9}, finetuning={"save_every": 9})
    with pytest.raises(SystemExit) as ended:
        run_until(trainer, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    assert ended.value.code == 143
    checkpoint = load_checkpoint_file(file_of(trainer, LATEST))
    assert checkpoint["current_epoch"] == 1
    assert {len(series) for series in checkpoint["logging"].values()} == {1}
    again = resumed(trainer_class, tiny)
    assert_equal_weights(weights_of(again.planned_network), weights_of(trainer.planned_network))
    again.run_training()
    assert {len(series) for series in load_checkpoint_file(file_of(again, FINAL))["logging"].values()} == {3}


def test_sigterm_in_the_last_validation_ends_after_the_training(tiny):
    trainer = make_trainer(Finetune, tiny, finetuning={"num_epochs": 1})
    step = trainer.validation_step
    trainer.validation_step = lambda batch: (os.kill(os.getpid(), signal.SIGTERM), step(batch))[1]
    with pytest.raises(SystemExit) as ended:
        trainer.run_training()
    assert ended.value.code == 143
    assert file_of(trainer, FINAL).is_file()


@pytest.mark.parametrize("disabled", [True, False])
def test_sigterm_before_the_first_step_leaves_no_checkpoint_of_nothing(tiny, disabled):
    trainer = make_trainer(Finetune, tiny)
    trainer.disable_checkpointing = disabled
    loaders = trainer.get_dataloaders

    def get_dataloaders():
        os.kill(os.getpid(), signal.SIGTERM)
        if not disabled:
            raise RuntimeError("One or more background workers are no longer alive")
        return loaders()

    trainer.get_dataloaders = get_dataloaders
    with pytest.raises(SystemExit):
        trainer.run_training()
    assert list(Path(trainer.output_folder).glob("*.pth")) == []
    assert "nothing to save" in training_log(trainer)


def test_errors_of_the_training_itself_are_not_hidden(tiny):
    def fail(_batch):
        raise RuntimeError("out of memory")

    trainer = make_trainer(Finetune, tiny)
    trainer.train_step = fail
    with pytest.raises(RuntimeError, match="out of memory"):
        trainer.run_training()


# ------------------------------------------------------------------------------------------------ disks and bad numbers


@pytest.mark.parametrize("trainer_class", [nnUNetTrainerPix2RepPretrain, Finetune])
def test_a_full_disk_leaves_the_last_whole_checkpoint(tiny, monkeypatch, trainer_class):
    save = torch.save

    def save_half(content, path, **options):
        save(content, path, **options)
        whole = Path(path).read_bytes()
        Path(path).write_bytes(whole[: len(whole) // 2])
        raise OSError(28, "No space left on device")

    trainer = make_trainer(trainer_class, tiny)
    with pytest.raises(OSError, match="No space left"):
        run_until(trainer, 1, lambda: monkeypatch.setattr(torch, "save", save_half))
    files = [file for file in Path(trainer.output_folder).rglob("*") if file.suffix == ".pth"]
    assert {file.name for file in files} >= {LATEST}
    assert not any(file.name.startswith(".") for file in files)
    assert all(load_checkpoint_file(file)["current_epoch"] == 1 for file in files)


def test_what_a_killed_process_left_half_written_is_removed(tiny):
    trainer = make_trainer(Finetune, tiny, finetuning={"num_epochs": 1})
    leftover = file_of(trainer, ".checkpoint_latest.abcdef.pth")
    leftover.write_bytes(b"half")
    trainer.run_training()
    assert not leftover.exists()


@pytest.mark.parametrize("trainer_class", TRAINERS)
def test_a_loss_that_is_not_finite_stops_and_names_the_cases(tiny, trainer_class):
    trainer = make_trainer(trainer_class, tiny)

    def spoil():
        with torch.no_grad():
            for parameter in trainer.network.parameters():
                parameter.fill_(torch.nan)

    with pytest.raises(UserError, match=r"loss of epoch 1 is nan for a batch of the cases case_0\d"):
        run_until(trainer, 1, spoil)
    for file in Path(trainer.output_folder).glob("*.pth"):
        assert load_checkpoint_file(file)["current_epoch"] == 1
        assert all(value.isfinite().all() for value in load_checkpoint_file(file)["network_weights"].values())
    resumed(trainer_class, tiny).run_training()


def test_sigterm_does_not_save_weights_that_are_not_finite(tiny):
    trainer = make_trainer(nnUNetTrainerPix2RepPretrain, tiny)

    def spoil():
        torch.nn.init.constant_(next(trainer.network.parameters()), torch.nan)
        os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(SystemExit):
        run_until(trainer, 1, spoil)
    weights = load_checkpoint_file(file_of(trainer, LATEST))["network_weights"]
    assert all(value.isfinite().all() for value in weights.values())
    assert "not finite" in training_log(trainer)
