from pathlib import Path

import pytest
import torch
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_training import CASES, make_trainer, training_log, weights_of

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.pretraining.masked_autoencoder import nnUNetTrainerMaskedAutoencoderPretrain
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain


def trained(folder, configuration="2d", **settings):
    trainer = make_trainer(nnUNetTrainerMaskedAutoencoderPretrain, folder, configuration=configuration, **settings)
    trainer.run_training()
    trainer.perform_actual_validation()
    return trainer, Path(trainer.output_folder) / "checkpoint_final.pth"


@pytest.mark.parametrize("configuration", ["2d", "3d_fullres"])
def test_the_hand_over_is_pix2reps(tiny, configuration):
    trainer, final = trained(tiny, configuration)
    stock = make_trainer(nnUNetTrainer, tiny, configuration=configuration)
    stock.initialize()
    before = weights_of(stock.network)
    load_pretrained_weights(stock.network, str(final))
    after = weights_of(stock.network)
    handed_over = load_checkpoint_file(final)["network_weights"]
    for key in after:
        assert torch.equal(after[key], before[key] if ".seg_layers." in key else handed_over[key]), key
    record = torch.load(final, weights_only=True)[RECORD_KEY]
    assert record["loss"] == "masked_squared_error"
    assert record["cases"] == list(CASES[:4])
    assert record["held_out_patients"] == list(CASES[4:])
    assert set(record["diagnostics"]) == {"train_losses", "val_losses", "explained_variance"}
    summary = read_json(final.with_name("pretraining_summary.json"))
    assert len(summary["logging"]["explained_variance"]) == 3
    assert "of the blocks of" in training_log(trainer)
    assert f"-tr nnUNetTrainerPix2RepFinetune -pretrained_weights {final} -device cpu" in training_log(trainer)


def test_it_learns(tiny):
    settings = {"num_epochs": 6, "num_iterations_per_epoch": 10, "optimization": {"initial_lr": 0.01}}
    trainer, _ = trained(tiny, pretraining=settings)
    values = trainer.logger.local_logger.my_fantastic_logging["explained_variance"]
    assert values[-1] > max(values[0], 0.05)


def test_labels_are_never_opened(own_tiny):
    labels = [*own_tiny.rglob("*_seg.b2nd"), *(own_tiny / "gt_segmentations").iterdir()]
    assert len(labels) == 3 * len(CASES)
    for file in labels:
        file.write_bytes(b"no label")
    with pytest.raises(RuntimeError):
        make_trainer(nnUNetTrainer, own_tiny).run_training()
    trained(own_tiny)


def test_fine_tuning_takes_it_and_guards_against_leaks(tiny):
    _, final = trained(tiny)
    fine_tuning = make_trainer(Pix2RepFinetuneTrainer, tiny)
    fine_tuning.initialize()
    fine_tuning.load_pretrained(final)
    assert fine_tuning.pretrained_record["loss"] == "masked_squared_error"
    leaking = make_trainer(Pix2RepFinetuneTrainer, tiny, fold=2)
    leaking.initialize()
    with pytest.raises(UserError, match="have seen images of the patients"):
        leaking.load_pretrained(final)


def test_it_does_not_go_on_from_a_pretraining_of_pix2rep(tiny, pretrained_checkpoint):
    trainer = make_trainer(nnUNetTrainerMaskedAutoencoderPretrain, tiny)
    with pytest.raises(UserError, match=r"not a checkpoint of nnUNetTrainerMaskedAutoencoderPretrain"):
        trainer.load_checkpoint(str(pretrained_checkpoint))


def test_both_pretrainings_share_optimizer_and_schedule(tiny):
    trainers = [
        make_trainer(kind, tiny) for kind in (nnUNetTrainerMaskedAutoencoderPretrain, nnUNetTrainerPix2RepPretrain)
    ]
    for trainer in trainers:
        trainer.initialize()
    for name in ("num_epochs", "num_iterations_per_epoch", "initial_lr", "weight_decay", "batch_size"):
        assert getattr(trainers[0], name) == getattr(trainers[1], name)
    assert type(trainers[0].optimizer) is type(trainers[1].optimizer)
    assert type(trainers[0].lr_scheduler) is type(trainers[1].lr_scheduler)


def test_the_scale_of_images_that_are_not_normalized_does_not_matter(tiny):
    trainer = make_trainer(nnUNetTrainerMaskedAutoencoderPretrain, tiny)
    trainer.configuration_manager.configuration["normalization_schemes"] = ["NoNormalization"]
    trainer.run_training()
    assert "WARNING: the plans do not normalize 1 channel(s) (NoNormalization)" in training_log(trainer)
    trainer.network.eval()
    generator = torch.Generator().manual_seed(0)
    visible = torch.rand(2, 1, 24, 24, generator=generator) > 0.75
    batch = {"images": 5000 + 1000 * torch.randn(2, 1, 24, 24, generator=generator), "visible": visible}
    with torch.no_grad():
        result = trainer.validation_step(batch | {"counted": ~visible})
    assert result["loss"] < 3
    assert result["explained_variance"] > -2


def test_normalized_images_are_painted_as_they_are_and_without_a_warning(tiny):
    trainer, _ = trained(tiny)
    assert "do not normalize" not in training_log(trainer)
    images = torch.randn(2, 1, 24, 24) + 3
    shown = torch.ones(2, 1, 24, 24, dtype=torch.bool)
    _, target, _ = trainer._reconstruct({"images": images, "visible": shown, "counted": ~shown})
    assert torch.equal(target, images)
