"""Diagnostics and warnings of real pretrainings: where they go, and that a collapsed one is told from a healthy one."""

import json
from pathlib import Path

import pytest
import torch
from nnunetv2.training.logging import nnunet_logger
from tiny_training import make_trainer, training_log

from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.training.pretraining.logger import DIAGNOSTICS
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import (
    nnUNetTrainerPix2RepPretrain,
    nnUNetTrainerPix2RepV2Pretrain,
)

LENGTH = {"num_epochs": 5, "num_iterations_per_epoch": 12, "num_val_iterations_per_epoch": 4}
SIZE = {"sampling": {"num_points": 512}, "head": {"hidden_channels": 64, "channels": 64}}
COLLAPSING = {"optimization": {"initial_lr": 1.0}, "info_nce": {"temperature": 100.0}}
NO_INTENSITY_TRANSFORMS = {
    f"{name}_probability": 0.0
    for name in (
        "noise",
        "blur",
        "brightness",
        "contrast",
        "gamma",
        "inverted_gamma",
        "inversion",
        "low_resolution",
        "bias_field",
    )
}


def pretrain(folder, trainer_class=nnUNetTrainerPix2RepPretrain, **settings):
    trainer = make_trainer(trainer_class, folder, pretraining=LENGTH | SIZE | settings)
    trainer.run_training()
    return trainer


def kinds_of(trainer):
    """Kinds of the warnings in the log, and that the record of the checkpoint has the same."""
    checkpoint = load_checkpoint_file(Path(trainer.output_folder) / "checkpoint_final.pth")
    recorded = {warning["kind"] for warning in checkpoint[RECORD_KEY]["warnings"]}
    log = training_log(trainer)
    assert recorded == {kind for kind in ("collapse", "intensity", "position") if f"WARNING ({kind}: " in log}
    return recorded


@pytest.mark.slow
def test_a_collapsed_run_is_flagged_within_five_epochs_and_a_healthy_one_is_not(tiny):
    healthy = pretrain(tiny)
    assert kinds_of(healthy) == set()
    collapsed = pretrain(tiny, **COLLAPSING)
    assert "collapse" in kinds_of(collapsed)
    assert "lower pretraining.optimization.initial_lr (now 1.0)" in training_log(collapsed)
    assert training_log(collapsed).count("WARNING (collapse") == 1


@pytest.mark.slow
def test_a_healthy_run_of_barlow_twins_is_not_flagged(tiny):
    assert kinds_of(pretrain(tiny, nnUNetTrainerPix2RepV2Pretrain)) == set()


@pytest.mark.slow
def test_views_that_share_their_intensities_are_flagged(tiny):
    assert kinds_of(pretrain(tiny, views=NO_INTENSITY_TRANSFORMS)) == {"intensity"}


# ------------------------------------------------------------------------------------------------------ where they go


class FakeRun:
    """What nnU-Net's WandbLogger uses of a Weights & Biases run."""

    def __init__(self):
        self.step = 0
        self.config, self.summary, self.logged = {}, {}, []

    def log(self, values, step):
        self.logged.append((step, values))


@pytest.fixture
def wandb_run(monkeypatch):
    """Weights & Biases switched on by nnU-Net's variable, with a stand-in for the service."""
    run = FakeRun()

    class Wandb:
        @staticmethod
        def init(**_arguments):
            return run

    monkeypatch.setenv("nnUNet_wandb_enabled", "1")
    monkeypatch.setattr(nnunet_logger, "wandb", Wandb)
    return run


def test_weights_and_biases_gets_every_diagnostic_of_every_epoch(tiny, wandb_run):
    trainer = make_trainer(nnUNetTrainerPix2RepPretrain, tiny)
    trainer.run_training()
    for name in ("train_losses", "val_losses", *DIAGNOSTICS):
        logged = [(step, values[name]) for step, values in wandb_run.logged if name in values]
        assert logged == list(enumerate(trainer.logger.get_value(name, None)))
        assert len(logged) == trainer.num_epochs


def test_checkpoint_and_summary_have_the_diagnostics_and_the_warnings(tiny):
    trainer = make_trainer(nnUNetTrainerPix2RepPretrain, tiny)
    trainer.run_training()
    trainer.perform_actual_validation()
    checkpoint = load_checkpoint_file(Path(trainer.output_folder) / "checkpoint_final.pth")
    summary = read_json(Path(trainer.output_folder) / "pretraining_summary.json")
    assert set(DIAGNOSTICS) <= checkpoint["logging"].keys()
    assert set(DIAGNOSTICS) <= summary["logging"].keys()
    assert set(DIAGNOSTICS) <= summary["diagnostics"].keys() == checkpoint[RECORD_KEY]["diagnostics"].keys()
    assert summary["warnings"] == checkpoint[RECORD_KEY]["warnings"]
    json.dumps(summary, allow_nan=False)


def test_warnings_reach_log_record_and_weights_and_biases_once(tiny, wandb_run):
    """The values of a collapse are put into the log of a real trainer, epoch after epoch."""
    trainer = make_trainer(nnUNetTrainerPix2RepPretrain, tiny)
    trainer.initialize()
    trainer.plot_network_architecture()
    values = dict.fromkeys(DIAGNOSTICS, 0.0) | {"effective_rank": 1.0, "retrieval_accuracy": 0.0}
    for epoch in range(trainer.num_epochs):
        for name in ("train_losses", "val_losses", "lrs", "epoch_start_timestamps"):
            trainer.logger.log(name, 1.0, epoch)
        for name, value in values.items():
            trainer.logger.log(name, value, epoch)
        trainer.on_epoch_end()
    assert training_log(trainer).count("WARNING (collapse: ") == 1
    assert [warning["epoch"] for warning in trainer.record()["warnings"]] == [2]
    assert wandb_run.summary["warnings/collapse"] == 2


def test_validation_that_is_not_finite_names_the_cases(tiny):
    trainer = make_trainer(nnUNetTrainerPix2RepPretrain, tiny)
    trainer.on_train_start()
    with torch.no_grad():
        trainer.embedder.head[0].weight.fill_(float("nan"))
        batch = next(trainer.dataloader_val)
        with pytest.raises(ValueError, match=batch["keys"][0]):
            trainer.validation_step(batch)
