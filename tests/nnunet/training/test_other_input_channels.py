"""Weights of one channel as the start of trainings with two, through nnU-Net's own function."""

from pathlib import Path

import pytest
import torch
from nnunetv2.run.run_training import maybe_load_checkpoint
from tiny_training import CASES, RESIDUAL_PLANS, make_tiny_dataset, make_trainer, prepare_for_training, training_log

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, SEGMENTATION_KEY_PART, load_checkpoint_file
from nnunet_pix2rep.nnunet.checkpoints.input_channels import input_convolution_keys
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.finetuning.linear_probe import Pix2RepLinearProbeTrainer
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepV2Pretrain

ADAPT = {"other_input_channels": "adapt"}
INPUT = "encoder.stages.0.0.convs.0.conv.weight"


@pytest.fixture(scope="module")
def two_channels(tmp_path_factory):
    """The tiny dataset with a second channel, under the same name: the leak guard knows its patients."""
    return make_tiny_dataset(
        tmp_path_factory.mktemp("two_channels"), num_channels=2, configurations=("2d", "3d_fullres")
    )


@pytest.fixture
def tiny_two(two_channels, tmp_path, monkeypatch):
    prepare_for_training(monkeypatch, two_channels, tmp_path)
    return two_channels


def start(trainer, file):
    """What nnUNetv2_train does between making the trainer and training."""
    maybe_load_checkpoint(trainer, False, False, str(file))
    return trainer


def final(trainer):
    return load_checkpoint_file(Path(trainer.output_folder) / "checkpoint_final.pth")


@pytest.mark.parametrize(
    ("trainer_class", "stage"),
    [
        (Pix2RepFinetuneTrainer, "finetuning"),
        (Pix2RepLinearProbeTrainer, "finetuning"),
        (nnUNetTrainerPix2RepV2Pretrain, "pretraining"),
    ],
)
def test_on_request_the_first_convolution_is_adapted_and_the_training_runs(
    tiny_two, pretrained_checkpoint, trainer_class, stage
):
    trainer = start(make_trainer(trainer_class, tiny_two, **{stage: ADAPT | {"num_epochs": 1}}), pretrained_checkpoint)
    trainer.run_training()
    assert f"adapted: {INPUT} from shape (4, 1, 3, 3) to (4, 2, 3, 3)" in training_log(trainer)
    content = final(trainer)
    assert content["network_weights"][INPUT].shape == (4, 2, 3, 3)
    record = content[RECORD_KEY]
    origin = record["pretrained"] if stage == "finetuning" else record["started_from"]
    assert origin["adapted_tensors"][INPUT] == [[4, 1, 3, 3], [4, 2, 3, 3]]
    assert origin["cases"] == list(CASES[:4])


def test_every_other_weight_is_as_it_was_and_nnunet_leaves_the_network_alone(tiny_two, pretrained_checkpoint):
    trainer = start(make_trainer(Pix2RepFinetuneTrainer, tiny_two, finetuning=ADAPT), pretrained_checkpoint)
    assert not trainer.network.state_dict()  # what nnU-Net loads into
    trainer._stand_in.remove(trainer)
    given, own = load_checkpoint_file(pretrained_checkpoint)["network_weights"], trainer.planned_network.state_dict()
    adapted = input_convolution_keys(trainer.planned_network)
    for key, value in own.items():
        if key in adapted:
            assert torch.equal(value, given[key].repeat(1, 2, 1, 1) / 2)
        elif SEGMENTATION_KEY_PART not in key:
            assert torch.equal(value, given[key])


def test_a_compiled_network_is_adapted_inside_its_wrapper(tiny_two, pretrained_checkpoint):
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny_two, finetuning=ADAPT)
    trainer.initialize()
    trainer.network = torch.compile(trainer.network, backend="eager")
    trainer.load_pretrained(pretrained_checkpoint)
    assert set(trainer.pretrained_record["adapted_tensors"]) == input_convolution_keys(trainer.planned_network)


def test_a_continued_training_remembers_what_was_adapted(tiny_two, pretrained_checkpoint):
    trainer = start(make_trainer(Pix2RepFinetuneTrainer, tiny_two, finetuning=ADAPT), pretrained_checkpoint)
    trainer.run_training()
    resumed = make_trainer(Pix2RepFinetuneTrainer, tiny_two, finetuning=ADAPT)
    maybe_load_checkpoint(resumed, True, False, None)
    assert resumed.pretrained_record == trainer.pretrained_record
    assert resumed.network.state_dict().keys() == trainer.network.state_dict().keys()


@pytest.mark.parametrize("stage", ["finetuning", "pretraining"])
def test_unasked_it_is_refused_and_the_setting_named(tiny_two, pretrained_checkpoint, stage):
    trainer_class = Pix2RepFinetuneTrainer if stage == "finetuning" else nnUNetTrainerPix2RepV2Pretrain
    other = {"finetuning": "pretraining", "pretraining": "finetuning"}[stage]
    trainer = make_trainer(trainer_class, tiny_two, **{other: ADAPT})
    with pytest.raises(UserError, match=rf"--set {stage}.other_input_channels=adapt. Nothing was loaded"):
        start(trainer, pretrained_checkpoint)


def test_the_leak_guard_still_knows_the_patients(tiny_two, pretrained_checkpoint):
    with pytest.raises(UserError, match="case_00, case_01"):
        start(make_trainer(Pix2RepFinetuneTrainer, tiny_two, 2, finetuning=ADAPT), pretrained_checkpoint)


def test_three_dimensions_and_residual_blocks(tiny_two, finished_pretraining_3d):
    plans, checkpoint = finished_pretraining_3d
    key = "encoder.stem.convs.0.conv.weight" if plans == RESIDUAL_PLANS else INPUT
    trainer = make_trainer(
        Pix2RepFinetuneTrainer,
        tiny_two,
        configuration="3d_fullres",
        plans_name=plans,
        finetuning=ADAPT | {"num_epochs": 1},
    )
    start(trainer, checkpoint).run_training()
    assert final(trainer)[RECORD_KEY]["pretrained"]["adapted_tensors"][key] == [[4, 1, 3, 3, 3], [4, 2, 3, 3, 3]]


def test_a_plain_pretraining_for_a_residual_network_is_refused_with_both_names(tiny, pretrained_checkpoint):
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny, plans_name=RESIDUAL_PLANS, finetuning=ADAPT)
    with pytest.raises(UserError, match=r"It is a PlainConvUNet, and these plans ask for a ResidualEncoderUNet"):
        start(trainer, pretrained_checkpoint)
