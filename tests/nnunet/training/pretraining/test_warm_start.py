"""``nnUNetv2_train -tr nnUNetTrainerPix2RepPretrain -pretrained_weights FILE``, through nnU-Net's own function."""

from pathlib import Path

import pytest
import torch
from nnunetv2.run.run_training import maybe_load_checkpoint
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_training import CASES, DATASET, make_trainer, training_log, weights_of

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.checkpoints.export import export_checkpoint
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, SEGMENTATION_KEY_PART, load_checkpoint_file
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import seen_cases
from nnunet_pix2rep.nnunet.checkpoints.nnssl_import import import_encoder
from nnunet_pix2rep.nnunet.networks.decoder_features import unwrap
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import (
    nnUNetTrainerPix2RepPretrain,
    nnUNetTrainerPix2RepV2Pretrain,
)
from nnunet_pix2rep.pretraining import PixelEmbedder


def start(trainer, file):
    """What nnUNetv2_train does between making the trainer and training."""
    maybe_load_checkpoint(trainer, False, False, str(file))
    return trainer


def final(trainer):
    return Path(trainer.output_folder) / "checkpoint_final.pth"


@pytest.mark.parametrize("trainer_class", [nnUNetTrainerPix2RepPretrain, nnUNetTrainerPix2RepV2Pretrain])
def test_the_planned_network_starts_from_the_file_and_then_trains(tiny, pretrained_checkpoint, trainer_class):
    trainer = start(make_trainer(trainer_class, tiny, pretraining={"num_epochs": 1}), pretrained_checkpoint)
    given = load_checkpoint_file(pretrained_checkpoint)["network_weights"]
    planned = weights_of(trainer.network)
    assert all(torch.equal(planned[key], given[key]) for key in given if SEGMENTATION_KEY_PART not in key)
    trainer.run_training()
    assert isinstance(unwrap(trainer.network), PixelEmbedder)
    trained = load_checkpoint_file(final(trainer))["network_weights"]
    assert not torch.equal(trained["decoder.transpconvs.0.weight"], given["decoder.transpconvs.0.weight"])
    assert f"Pretrained weights from {pretrained_checkpoint}" in training_log(trainer)


def test_the_checkpoint_and_the_summary_say_where_it_started(tiny, pretrained_checkpoint):
    trainer = start(
        make_trainer(nnUNetTrainerPix2RepPretrain, tiny, 1, pretraining={"num_epochs": 1}), pretrained_checkpoint
    )
    trainer.run_training()
    trainer.perform_actual_validation()
    origin = load_checkpoint_file(final(trainer))[RECORD_KEY]["started_from"]
    assert origin["file"] == str(pretrained_checkpoint)
    assert origin["dataset_name"] == DATASET
    assert set(origin["cases"]) == set(CASES[:4])
    assert origin["transductive_cases"] == []
    assert read_json(Path(trainer.output_folder) / "pretraining_summary.json")["started_from"] == origin


def test_a_pretraining_from_random_weights_says_so(pretrained_checkpoint):
    assert load_checkpoint_file(pretrained_checkpoint)[RECORD_KEY]["started_from"] is None


def test_a_continued_pretraining_remembers_its_start(tiny, pretrained_checkpoint):
    trainer = start(make_trainer(nnUNetTrainerPix2RepPretrain, tiny), pretrained_checkpoint)
    trainer.run_training()
    resumed = make_trainer(nnUNetTrainerPix2RepPretrain, tiny)
    resumed.load_checkpoint(str(final(trainer)))
    assert resumed.warm_start.origin == trainer.warm_start.origin is not None


def test_weights_that_have_seen_the_validation_patients_are_refused(tiny, pretrained_checkpoint, monkeypatch):
    with pytest.raises(UserError, match="case_00, case_01"):
        start(make_trainer(nnUNetTrainerPix2RepPretrain, tiny, 2), pretrained_checkpoint)
    monkeypatch.setenv("nnUNet_pix2rep_allow_transductive", "1")
    trainer = start(make_trainer(nnUNetTrainerPix2RepPretrain, tiny, 2), pretrained_checkpoint)
    assert trainer.warm_start.origin["transductive_cases"] == ["case_00", "case_01"]
    assert "WARNING: transductive" in training_log(trainer)


def test_fine_tuning_sees_through_the_start_of_its_pretraining(tiny, pretrained_checkpoint, monkeypatch):
    """Pretraining of fold 2 that started from one that has seen the validation cases of fold 2."""
    monkeypatch.setenv("nnUNet_pix2rep_allow_transductive", "1")
    trainer = start(
        make_trainer(nnUNetTrainerPix2RepPretrain, tiny, 2, pretraining={"num_epochs": 1}), pretrained_checkpoint
    )
    trainer.run_training()
    record = load_checkpoint_file(final(trainer))[RECORD_KEY]
    assert seen_cases(record, DATASET) == set(CASES)
    assert seen_cases(record, "Dataset001_Other") == set()
    monkeypatch.delenv("nnUNet_pix2rep_allow_transductive")
    finetuning = make_trainer(Pix2RepFinetuneTrainer, tiny, 2)
    with pytest.raises(UserError, match="case_00, case_01"):
        start(finetuning, final(trainer))


def test_a_segmentation_training_of_nnunet_can_be_the_start(tiny, tmp_path):
    segmentation = make_trainer(nnUNetTrainer, tiny)
    segmentation.initialize()
    segmentation.save_checkpoint(str(tmp_path / "segmentation.pth"))
    trainer = start(make_trainer(nnUNetTrainerPix2RepPretrain, tiny), tmp_path / "segmentation.pth")
    assert trainer.warm_start.origin["file"] == str(tmp_path / "segmentation.pth")
    assert "cases" not in trainer.warm_start.origin


def test_an_imported_nnssl_encoder_is_a_start_in_three_dimensions(tiny, finished_pretraining_3d, tmp_path):
    plans, checkpoint = finished_pretraining_3d
    export_checkpoint(checkpoint, "nnssl", tmp_path / "nnssl.pth")
    import_encoder(tmp_path / "nnssl.pth", DATASET, "3d_fullres", plans, tmp_path / "start.pth")
    trainer = make_trainer(
        nnUNetTrainerPix2RepV2Pretrain,
        tiny,
        configuration="3d_fullres",
        plans_name=plans,
        pretraining={"num_epochs": 1},
    )
    start(trainer, tmp_path / "start.pth").run_training()
    record = load_checkpoint_file(final(trainer))[RECORD_KEY]
    assert record["started_from"]["stage"] == "import"
    assert record["started_from"]["started_from"]["file"] == str(tmp_path / "nnssl.pth")
    with pytest.raises(UserError, match="have seen images"):  # the guard sees through export and import
        start(
            make_trainer(nnUNetTrainerPix2RepPretrain, tiny, 2, configuration="3d_fullres", plans_name=plans),
            tmp_path / "start.pth",
        )


def test_weights_of_another_network_are_refused(tiny, finished_pretraining_3d):
    _, checkpoint = finished_pretraining_3d
    with pytest.raises(UserError, match="does not fit the network of these plans"):
        start(make_trainer(nnUNetTrainerPix2RepPretrain, tiny), checkpoint)
