from pathlib import Path

import numpy as np
import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_training import RESIDUAL_PLANS, assert_equal_weights, differing, make_trainer, training_log, weights_of

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import (
    nnUNetTrainerPix2RepPretrain,
    nnUNetTrainerPix2RepV2Pretrain,
)


class FromScratch(Pix2RepFinetuneTrainer):
    needs_pretrained_weights = False


def train(trainer, checkpoint=None):
    """Trains; returns weights before and after, and the keys of encoder, decoder and segmentation layers."""
    trainer.initialize()
    if checkpoint is not None:
        trainer.load_pretrained(checkpoint)
    before = weights_of(trainer.network)
    trainer.run_training()
    return before, weights_of(trainer.network)


def part_of(key):
    if ".seg_layers." in key:
        return "heads"
    return "encoder" if "encoder." in key else "decoder"


@pytest.mark.parametrize(
    ("trainable", "moving"),
    [("all", {"encoder", "decoder", "heads"}), ("decoder", {"decoder", "heads"}), ("heads", {"heads"})],
)
def test_exactly_the_trainable_parts_move(tiny, pretrained_checkpoint, trainable, moving):
    settings = {"trainable": trainable, "head_first_fraction": 0.0}
    before, after = train(make_trainer(Pix2RepFinetuneTrainer, tiny, finetuning=settings), pretrained_checkpoint)
    assert {part_of(key) for key in differing(before, after)} == moving


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_the_backbone_rests_while_the_heads_train_alone(tiny, pretrained_checkpoint, optimizer):
    settings = {"optimizer": optimizer, "head_first_fraction": 0.9, "warmup_fraction": 0.0, "weight_decay": 0.5}
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny, finetuning=settings)
    before, after = train(trainer, pretrained_checkpoint)
    assert {part_of(key) for key in differing(before, after)} == {"heads"}
    assert not any(parameter in trainer.optimizer.state for parameter in trainer.optimizer.param_groups[0]["params"])


def test_without_elastic_deformation_data_and_loss_are_nnunets(tiny):
    settings = {"elastic_probability": 0.0}
    trainers = [
        make_trainer(trainer_class, tiny, finetuning=settings) for trainer_class in (nnUNetTrainer, FromScratch)
    ]
    batches, losses = [], []
    for trainer in trainers:
        torch.manual_seed(0)
        np.random.seed(0)
        trainer.initialize()
        batches.append(next(trainer.get_dataloaders()[0]))
        trainer.network.load_state_dict(trainers[0].network.state_dict())
        losses.append(trainer.loss(trainer.network(batches[0]["data"]), batches[0]["target"]).item())
    assert list(batches[0]["keys"]) == list(batches[1]["keys"])
    torch.testing.assert_close(batches[0]["data"], batches[1]["data"], rtol=0, atol=0)
    assert len(batches[1]["target"]) == 2  # deep supervision
    assert losses[0] == losses[1]


def test_weights_come_from_the_own_pretraining_of_the_fold(tiny):
    pretraining = make_trainer(nnUNetTrainerPix2RepPretrain, tiny, pretraining={"num_epochs": 1})
    pretraining.run_training()
    final = Path(pretraining.output_folder) / "checkpoint_final.pth"
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny, finetuning={"trainable": "heads", "num_epochs": 1})
    trainer.run_training()
    assert f"Pretrained weights from {final}" in training_log(trainer)
    wanted = {key: value for key, value in weights_of(pretraining.planned_network).items() if part_of(key) != "heads"}
    assert_equal_weights(wanted, {key: trainer.network.state_dict()[key] for key in wanted})


def test_no_pretraining_is_an_error_before_the_training_begins(tiny):
    with pytest.raises(UserError, match=r"no finished pretraining of plans TinyPlans.*fold 1.*-pretrained_weights"):
        make_trainer(Pix2RepFinetuneTrainer, tiny, fold=1).run_training()


def test_several_pretrainings_are_an_error(tiny):
    for trainer_class in (nnUNetTrainerPix2RepPretrain, nnUNetTrainerPix2RepV2Pretrain):
        make_trainer(trainer_class, tiny, pretraining={"num_epochs": 1}).run_training()
    with pytest.raises(UserError, match=r"several pretrainings.*V2Pretrain.*-pretrained_weights"):
        make_trainer(Pix2RepFinetuneTrainer, tiny).run_training()


def test_the_scratch_twin_differs_in_the_weights_alone(tiny, pretrained_checkpoint):
    settings = {"backbone_lr": 0.003, "head_lr": 0.02, "trainable": "decoder", "optimizer": "sgd"}
    twins = [
        make_trainer(trainer_class, tiny, finetuning=settings)
        for trainer_class in (Pix2RepFinetuneTrainer, FromScratch)
    ]
    rates = []
    for trainer in twins:
        trainer.initialize()
        if trainer.needs_pretrained_weights:
            trainer.load_pretrained(pretrained_checkpoint)
        rates.append([])
        for epoch in (0, 0.2, 1.5, 2.9):
            trainer.lr_scheduler.step(epoch)
            rates[-1].append([group["lr"] for group in trainer.optimizer.param_groups])
    first, second = (
        [
            {key: value for key, value in group.items() if key != "params"}
            | {"shapes": [p.shape for p in group["params"]]}
            for group in trainer.optimizer.param_groups
        ]
        for trainer in twins
    )
    assert rates[0] == rates[1]
    assert first == second
    assert twins[0].num_epochs == twins[1].num_epochs
    assert differing(*(trainer.network.state_dict() for trainer in twins))


def test_an_unknown_architecture_is_named(tiny):
    class Other(FromScratch):
        @staticmethod
        def build_network_architecture(plans_manager, *_):
            return torch.nn.Conv2d(1, 1, 1)

    with pytest.raises(UserError, match=r"architecture torch.nn.*Conv2d. Supported: PlainConvUNet"):
        make_trainer(Other, tiny).initialize()


def test_a_fold_beyond_the_splits_file_is_refused(tiny, pretrained_checkpoint):
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny, fold=3)
    trainer.initialize()
    with pytest.raises(UserError, match=r"Fold 3 does not exist: .*splits_final.json has the folds 0 to 2"):
        trainer.load_pretrained(pretrained_checkpoint)


def test_fold_all_trains(tiny, pretrained_checkpoint):
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny, fold="all", finetuning={"num_epochs": 1})
    before, after = train(trainer, pretrained_checkpoint)
    assert differing(before, after)


def test_a_residual_encoder_trains(tiny):
    pretraining = make_trainer(
        nnUNetTrainerPix2RepPretrain, tiny, plans_name=RESIDUAL_PLANS, pretraining={"num_epochs": 1}
    )
    pretraining.run_training()
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny, plans_name=RESIDUAL_PLANS, finetuning={"num_epochs": 1})
    trainer.run_training()
    assert Path(trainer.output_folder, "checkpoint_final.pth").is_file()


def test_the_checkpoint_names_stock_nnunet_and_its_pretraining(tiny, pretrained_checkpoint):
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny, finetuning={"num_epochs": 1})
    train(trainer, pretrained_checkpoint)
    checkpoint = load_checkpoint_file(Path(trainer.output_folder) / "checkpoint_final.pth")
    assert checkpoint["trainer_name"] == "nnUNetTrainer"
    assert checkpoint[RECORD_KEY]["trainer"] == "Pix2RepFinetuneTrainer"
    assert checkpoint[RECORD_KEY]["pretrained"]["file"] == str(pretrained_checkpoint)
    assert checkpoint[RECORD_KEY]["pretrained"]["transductive_cases"] == []


def test_weights_fine_tuned_on_a_validation_case_are_refused(tiny):
    other_fold = make_trainer(FromScratch, tiny, fold=2, finetuning={"num_epochs": 1})
    other_fold.run_training()
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny, fold=0)
    trainer.initialize()
    with pytest.raises(UserError, match="case_04, case_05"):
        trainer.load_pretrained(Path(other_fold.output_folder) / "checkpoint_final.pth")


def test_transductive_weights_are_recorded_when_allowed(tiny, monkeypatch):
    monkeypatch.setenv("nnUNet_pix2rep_allow_transductive", "1")
    pretraining = make_trainer(nnUNetTrainerPix2RepPretrain, tiny, fold=2, pretraining={"num_epochs": 1})
    pretraining.run_training()
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny, fold=0, finetuning={"num_epochs": 1})
    train(trainer, Path(pretraining.output_folder) / "checkpoint_final.pth")
    record = load_checkpoint_file(Path(trainer.output_folder) / "checkpoint_final.pth")[RECORD_KEY]
    assert record["pretrained"]["transductive_cases"] == ["case_04", "case_05"]
    assert "WARNING: transductive" in training_log(trainer)
