"""What nnU-Net keeps to itself and this package depends on is still there, and does what it did."""

import inspect

import pytest
import torch
from nnunetv2.run import run_training
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.logging.nnunet_logger import LocalLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_training import make_trainer

from nnunet_pix2rep.nnunet.training.nnunet_private import (
    NetworkStandIn,
    is_compiled,
    is_validating_only,
    preprocessed_data_in,
    replace_local_logger,
    requested_pretrained_weights,
    stop_workers,
)

# -------------------------------------------------------------------------------------------------- -pretrained_weights


class AskingTrainer:
    """Asks for the file of -pretrained_weights where nnU-Net initializes its trainers."""

    was_initialized = False
    network = torch.nn.Identity()
    output_folder = ""
    answer = "never asked"

    def initialize(self):
        self.answer = requested_pretrained_weights()

    def load_checkpoint(self, _file):
        self.initialize()


def test_the_file_is_known_while_nnunet_loads_it(pretrained_checkpoint):
    trainer = AskingTrainer()
    maybe_load_checkpoint(trainer, False, False, str(pretrained_checkpoint))
    assert trainer.answer == pretrained_checkpoint


def test_there_is_no_file_without_the_option_nor_outside_nnunet(tmp_path):
    (tmp_path / "checkpoint_latest.pth").touch()
    trainer = AskingTrainer()
    trainer.output_folder = str(tmp_path)
    maybe_load_checkpoint(trainer, True, False, None)
    assert trainer.answer is None
    assert requested_pretrained_weights() is None


def test_the_option_is_ignored_with_val_as_nnunet_does(tmp_path):
    (tmp_path / "checkpoint_final.pth").touch()
    trainer = AskingTrainer()
    trainer.output_folder = str(tmp_path)
    maybe_load_checkpoint(trainer, False, True, "ignored.pth")
    assert trainer.answer is None


# ---------------------------------------------------------------------------------------------------------------- --val


@pytest.mark.parametrize("validates", [True, False])
def test_a_trainer_that_is_made_knows_of_val(monkeypatch, validates):
    answers = []
    monkeypatch.setattr(run_training, "get_trainer_from_args", lambda *_, **__: AskingTrainer())
    monkeypatch.setattr(run_training, "maybe_load_checkpoint", lambda *_: answers.append(is_validating_only()))
    monkeypatch.setattr(AskingTrainer, "run_training", lambda _: None, raising=False)
    monkeypatch.setattr(AskingTrainer, "perform_actual_validation", lambda *_: None, raising=False)
    run_training.run_training("1", "2d", 0, continue_training=not validates, only_run_validation=validates)
    assert answers == [validates]
    assert not is_validating_only()


def test_in_each_of_several_processes_val_has_the_name_that_is_read():
    assert "val" in inspect.signature(run_training.run_ddp).parameters


# ------------------------------------------------------------------------------------------------------------- stand-in


def test_nnunet_loads_into_the_network_that_is_shown(pretrained_checkpoint, monkeypatch):
    loaded = []
    monkeypatch.setattr(run_training, "load_pretrained_weights", lambda network, *_, **__: loaded.append(network))
    trainer, whole, planned, stand_in = AskingTrainer(), torch.nn.Identity(), torch.nn.Identity(), NetworkStandIn()
    trainer.network = whole
    monkeypatch.setattr(trainer, "initialize", lambda: stand_in.show(trainer, planned))
    maybe_load_checkpoint(trainer, False, False, str(pretrained_checkpoint))
    assert loaded == [planned]
    stand_in.remove(trainer)
    assert trainer.network is whole
    stand_in.remove(trainer)
    assert trainer.network is whole


def test_an_empty_network_takes_weights_of_any_shape(pretrained_checkpoint):
    trainer, whole, stand_in = AskingTrainer(), torch.nn.Linear(2, 2), NetworkStandIn()
    trainer.network = whole
    stand_in.show_nothing(trainer)
    maybe_load_checkpoint(trainer, False, False, str(pretrained_checkpoint))
    assert not trainer.network.state_dict()
    stand_in.remove(trainer)
    assert trainer.network is whole


# --------------------------------------------------------------------------------------------------------------- others


def test_nnunet_infers_the_kind_of_data_from_the_folder_that_is_shown(tiny, tmp_path):
    trainer = make_trainer(nnUNetTrainer, tiny)
    own = trainer.preprocessed_dataset_folder
    empty = tmp_path / "empty"
    empty.mkdir()
    with preprocessed_data_in(trainer, empty), pytest.raises((IndexError, AssertionError)):  # no file to infer it from
        trainer.initialize()
    assert trainer.preprocessed_dataset_folder == own
    trainer = make_trainer(nnUNetTrainer, tiny)
    trainer.preprocessed_dataset_folder = str(empty)
    with preprocessed_data_in(trainer, own):
        trainer.initialize()
    assert trainer.preprocessed_dataset_folder == str(empty)


def test_a_local_logger_takes_the_place_of_nnunets(tiny):
    class Counting(LocalLogger):
        logged = ()

        def log(self, key, value, epoch):
            self.logged = (*self.logged, (key, value, epoch))

    trainer, logger = make_trainer(nnUNetTrainer, tiny), Counting()
    assert isinstance(trainer.logger.local_logger, LocalLogger)
    replace_local_logger(trainer, logger)
    trainer.logger.log("train_losses", 0.5, 0)
    assert logger.logged == (("train_losses", 0.5, 0),)


@pytest.mark.parametrize("wanted", [False, True])
def test_a_trainer_says_whether_it_compiles(tiny, monkeypatch, wanted):
    trainer = make_trainer(nnUNetTrainer, tiny)
    monkeypatch.setenv("nnUNet_compile", str(wanted))
    trainer.device = torch.device("cuda")  # on a CPU nnU-Net never does
    assert is_compiled(trainer) is wanted


def test_workers_are_ended_as_nnunet_ends_them():
    assert "_finish()" in inspect.getsource(nnUNetTrainer.on_train_end)

    class Loader:
        is_running = True

        def _finish(self):
            self.is_running = False

    loader = Loader()
    stop_workers(loader, iter([]))
    assert not loader.is_running
