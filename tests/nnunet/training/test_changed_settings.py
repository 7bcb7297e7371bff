"""``--c`` with other settings than the training began with."""

from pathlib import Path

import pytest
import torch
from nnunetv2.run.run_training import run_training
from tiny_training import DATASET, PLANS, make_trainer, training_log

from nnunet_pix2rep.config import Pix2RepConfig, parse_settings
from nnunet_pix2rep.config.merge import listed, merged
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.training.changed_settings import MAY_CHANGE
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.finetuning.linear_probe import Pix2RepLinearProbeTrainer
from nnunet_pix2rep.nnunet.training.finetuning.mean_teacher import Pix2RepMeanTeacherTrainer
from nnunet_pix2rep.nnunet.training.pretraining.masked_autoencoder import nnUNetTrainerMaskedAutoencoderPretrain
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain


class Finetune(Pix2RepFinetuneTrainer):
    needs_pretrained_weights = False


class MeanTeacher(Pix2RepMeanTeacherTrainer):
    needs_pretrained_weights = False

    def initialize(self):
        super().initialize()
        self._start_teacher()


def begun(trainer_class, folder):
    """The checkpoint of a training that has just begun."""
    trainer = make_trainer(trainer_class, folder)
    trainer.initialize()
    return trainer.checkpoint_content(0)


def goes_on(trainer_class, folder, checkpoint, *settings):
    trainer = make_trainer(trainer_class, folder, **parse_settings(settings))
    trainer.load_checkpoint(checkpoint)
    return trainer


@pytest.mark.parametrize(
    ("trainer_class", "setting", "before"),
    [
        (nnUNetTrainerPix2RepPretrain, "pretraining.seed=5", "0"),
        (nnUNetTrainerPix2RepPretrain, "pretraining.sampling.features=last_stage", "'hypercolumn'"),
        (nnUNetTrainerPix2RepPretrain, "pretraining.views.zoom=[0.7, 1.0]", r"\[0.5, 1.25\]"),
        (nnUNetTrainerPix2RepPretrain, "pretraining.head.channels=16", "8"),
        (nnUNetTrainerPix2RepPretrain, "pretraining.info_nce.temperature=0.25", "0.5"),
        (nnUNetTrainerMaskedAutoencoderPretrain, "pretraining.masked_autoencoder.mask_ratio=0.5", "0.75"),
        (Finetune, "finetuning.optimizer=sgd", "'adamw'"),
        (Finetune, "finetuning.trainable=heads", "'all'"),
        (Finetune, "finetuning.elastic_probability=0.5", "0.3"),
        (MeanTeacher, "finetuning.ema_decay=0.5", "0.99"),
        (MeanTeacher, "pretraining.views.noise_probability=0.5", "0.3"),
        (Pix2RepLinearProbeTrainer, "pretraining.sampling.features=last_stage", "'hypercolumn'"),
    ],
)
def test_what_would_be_another_training_is_refused(tiny, trainer_class, setting, before):
    name = setting.partition("=")[0]
    with pytest.raises(UserError, match=rf"{name} was {before} and is .* now\. Set them back .*without --c"):
        goes_on(trainer_class, tiny, begun(trainer_class, tiny), setting)


@pytest.mark.parametrize(
    ("trainer_class", "setting"),
    [
        (nnUNetTrainerPix2RepPretrain, "pretraining.vicreg.variance_weight=2"),
        (nnUNetTrainerPix2RepPretrain, "finetuning.optimizer=sgd"),
        (nnUNetTrainerMaskedAutoencoderPretrain, "pretraining.views.noise_probability=0.5"),
        (Finetune, "pretraining.seed=5"),
        (Finetune, "finetuning.ema_decay=0.5"),
        (Pix2RepLinearProbeTrainer, "finetuning.optimizer=sgd"),
    ],
)
def test_settings_of_other_trainings_do_not_matter(tiny, trainer_class, setting):
    trainer = goes_on(trainer_class, tiny, begun(trainer_class, tiny), setting)
    assert trainer.changed_settings == []
    assert "it was" not in training_log(trainer)


@pytest.mark.parametrize(
    ("trainer_class", "name"),
    [
        (nnUNetTrainerPix2RepPretrain, "pretraining.optimization.weight_decay"),
        (Finetune, "finetuning.weight_decay"),
        (Pix2RepLinearProbeTrainer, "finetuning.weight_decay"),
    ],
)
def test_another_weight_decay_is_the_one_that_is_used(tiny, trainer_class, name):
    trainer = goes_on(trainer_class, tiny, begun(trainer_class, tiny), f"{name}=0.5")
    assert {group["weight_decay"] for group in trainer.optimizer.param_groups} == {0.5}


def test_another_length_or_rate_is_logged_and_stays_on_record(tiny):
    settings = ["finetuning.num_epochs=5", "finetuning.head_lr=0.5"]
    first = goes_on(Finetune, tiny, begun(Finetune, tiny), *settings)
    for text in ("From epoch 0 on finetuning.num_epochs is 5, it was 3 before", "finetuning.head_lr is 0.5, it was"):
        assert text in training_log(first)
    second = goes_on(Finetune, tiny, first.checkpoint_content(2), *settings, "finetuning.save_every=7")
    assert second.record()["changed_settings"] == [
        {"epoch": 0, "setting": "finetuning.num_epochs", "before": 3, "after": 5},
        {"epoch": 0, "setting": "finetuning.head_lr", "before": 0.01, "after": 0.5},
        {"epoch": 2, "setting": "finetuning.save_every", "before": 1, "after": 7},
    ]


def test_what_may_change_are_settings():
    assert {name for name, _ in listed(Pix2RepConfig().to_block())} >= MAY_CHANGE


def test_checkpoints_of_earlier_versions_go_on(tiny):
    checkpoint = begun(Finetune, tiny)
    del checkpoint[RECORD_KEY]["config"]["finetuning"]["elastic_probability"]
    goes_on(Finetune, tiny, checkpoint)
    with pytest.raises(UserError, match=r"elastic_probability was 0\.3"):
        goes_on(Finetune, tiny, checkpoint, "finetuning.elastic_probability=0.5")
    del checkpoint[RECORD_KEY]["config"]
    goes_on(Finetune, tiny, checkpoint, "finetuning.elastic_probability=0.5")


def test_validating_again_asks_for_no_settings(own_tiny):
    place = (DATASET, "2d", 0, "nnUNetTrainerPix2RepFinetuneScratch", PLANS)
    trainer = make_trainer(type("nnUNetTrainerPix2RepFinetuneScratch", (Finetune,), {}), own_tiny)
    trainer.initialize()
    final = Path(trainer.output_folder) / "checkpoint_final.pth"
    trainer.save_checkpoint(str(final))
    plans = read_json(own_tiny / f"{PLANS}.json")
    content = plans["configurations"]["2d"]
    content["pix2rep"] = merged(content["pix2rep"], {"finetuning": {"optimizer": "sgd", "trainable": "heads"}})
    write_json(plans, own_tiny / f"{PLANS}.json")
    with pytest.raises(UserError, match=r"finetuning\.optimizer was 'adamw' and is 'sgd' now"):
        run_training(*place, continue_training=True, device=torch.device("cpu"))
    run_training(*place, only_run_validation=True, device=torch.device("cpu"))
    assert (final.parent / "validation" / "summary.json").is_file()
    assert load_checkpoint_file(final)[RECORD_KEY]["config"]["finetuning"]["optimizer"] == "adamw"
