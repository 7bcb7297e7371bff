"""The leak guard of a training on labels that goes on, or validates again, after the split has changed."""

import shutil
from pathlib import Path

import pytest
from nnunetv2.run.run_training import maybe_load_checkpoint
from tiny_training import CASES, make_trainer, training_log

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.finetuning.mean_teacher import Pix2RepMeanTeacherTrainer

SHORT = {"num_epochs": 1, "num_iterations_per_epoch": 1}


class FromScratch(Pix2RepFinetuneTrainer):
    needs_pretrained_weights = False


def trained(trainer_class, folder, checkpoint=None):
    """A finished training in fold 0, whose latest checkpoint is there too, as if it had been interrupted."""
    trainer = make_trainer(trainer_class, folder, finetuning=SHORT)
    trainer.initialize()
    if checkpoint is not None:
        trainer.load_pretrained(checkpoint)
    trainer.run_training()
    final = Path(trainer.output_folder) / "checkpoint_final.pth"
    shutil.copy(final, final.with_name("checkpoint_latest.pth"))
    return final


def go_on(trainer_class, folder, validate=False):
    trainer = make_trainer(trainer_class, folder, finetuning=SHORT | {"num_epochs": 2})
    maybe_load_checkpoint(trainer, not validate, validate)
    return trainer


def change_split(folder, training, validation):
    splits = read_json(folder / "splits_final.json")
    splits[0] = {"train": list(training), "val": list(validation)}
    write_json(splits, folder / "splits_final.json")


@pytest.mark.parametrize("validate", [False, True], ids=["--c", "--val"])
@pytest.mark.parametrize("trainer_class", [Pix2RepFinetuneTrainer, Pix2RepMeanTeacherTrainer])
def test_weights_that_saw_the_new_validation_patients_are_refused(
    own_tiny, pretrained_checkpoint, trainer_class, validate
):
    final = trained(trainer_class, own_tiny, pretrained_checkpoint)
    change_split(own_tiny, CASES[1:3], CASES[3:4])  # case_03 was unlabeled in this fold: the pretraining saw it
    with pytest.raises(UserError, match=r"1 validation cases: case_03.*changed since; restore it, or start") as refused:
        go_on(trainer_class, own_tiny, validate)
    assert str(final.parent) in str(refused.value)


def test_a_case_that_the_training_itself_saw_counts(own_tiny, monkeypatch):
    trained(FromScratch, own_tiny)
    change_split(own_tiny, CASES[1:3], CASES[:1])
    with pytest.raises(UserError, match="1 validation cases: case_00"):
        go_on(FromScratch, own_tiny)
    monkeypatch.setenv("nnUNet_pix2rep_allow_transductive", "1")
    assert go_on(FromScratch, own_tiny).record()["transductive_cases"] == ["case_00"]


def test_what_is_allowed_is_recorded(own_tiny, pretrained_checkpoint, monkeypatch):
    final = trained(Pix2RepFinetuneTrainer, own_tiny, pretrained_checkpoint)
    assert load_checkpoint_file(final)[RECORD_KEY]["transductive_cases"] == []
    change_split(own_tiny, CASES[1:3], CASES[3:])
    monkeypatch.setenv("nnUNet_pix2rep_allow_transductive", "1")
    trainer = go_on(Pix2RepFinetuneTrainer, own_tiny)
    trainer.run_training()
    record = load_checkpoint_file(final)[RECORD_KEY]
    assert record["transductive_cases"] == record["pretrained"]["transductive_cases"] == ["case_03"]
    assert "WARNING: transductive" in training_log(trainer)


def test_a_split_with_the_same_validation_patients_goes_on(own_tiny, pretrained_checkpoint):
    final = trained(Pix2RepFinetuneTrainer, own_tiny, pretrained_checkpoint)
    change_split(own_tiny, CASES[1:3], CASES[4:])
    go_on(Pix2RepFinetuneTrainer, own_tiny).run_training()
    assert load_checkpoint_file(final)["current_epoch"] == 2


def test_a_fold_by_case_goes_on_as_it_began(own_tiny):
    """nnU-Net's own folds may have a patient on both sides, of which a new training warns and no more."""
    patients = {case: {"patient": "one" if case in CASES[3:5] else case} for case in CASES}
    write_json(patients, own_tiny / "patients.json")
    change_split(own_tiny, CASES[:4], CASES[4:])
    trained(FromScratch, own_tiny)
    trainer = go_on(FromScratch, own_tiny)
    assert "1 patient(s) have images in training and in validation" in training_log(trainer)
    assert trainer.transductive_cases == []
