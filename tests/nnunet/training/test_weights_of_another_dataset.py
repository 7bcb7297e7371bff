"""The leak guard and the record where the pretraining comes from another dataset, of another hospital for instance."""

from pathlib import Path

import pytest
from nnunetv2.run.run_training import maybe_load_checkpoint
from tiny_training import CASES, DATASET, make_trainer, training_log

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file, save_checkpoint_file
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import equal_names_elsewhere, seen_cases
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepPretrain

OTHER = "Dataset902_HospitalA"


@pytest.fixture
def weights_of_another(pretrained_checkpoint, tmp_path):
    """Makes a checkpoint of a pretraining on images of the other dataset."""

    def make(*cases):
        content = load_checkpoint_file(pretrained_checkpoint)
        content[RECORD_KEY] |= {"dataset_name": OTHER, "cases": list(cases)}
        save_checkpoint_file(content, tmp_path / "other.pth")
        return tmp_path / "other.pth"

    return make


def train(trainer, file):
    """Trains; returns the final checkpoint."""
    maybe_load_checkpoint(trainer, False, False, str(file))
    trainer.run_training()
    return Path(trainer.output_folder) / "checkpoint_final.pth"


def finetuned(tiny, file):
    return train(make_trainer(Pix2RepFinetuneTrainer, tiny, finetuning={"num_epochs": 1}), file)


def test_a_fine_tuned_checkpoint_knows_the_cases_of_both_datasets(tiny, weights_of_another):
    record = load_checkpoint_file(finetuned(tiny, weights_of_another("berlin_1", "berlin_2")))[RECORD_KEY]
    assert seen_cases(record, OTHER) == {"berlin_1", "berlin_2"}
    assert seen_cases(record, DATASET) == set(CASES[:2])
    assert record["pretrained"]["dataset_name"] == OTHER


def test_so_does_a_pretraining_that_goes_on_from_it(tiny, weights_of_another):
    file = finetuned(tiny, weights_of_another("berlin_1"))
    trainer = make_trainer(nnUNetTrainerPix2RepPretrain, tiny, pretraining={"num_epochs": 1})
    record = load_checkpoint_file(train(trainer, file))[RECORD_KEY]
    assert seen_cases(record, OTHER) == {"berlin_1"}
    assert seen_cases(record, DATASET) == set(CASES[:4])  # fold 0 pretrains on all but the validation patients


def test_back_at_the_first_hospital_its_own_patients_are_still_guarded(tiny, weights_of_another):
    """Weights go from the tiny dataset to another one and come back: the first training's cases count."""
    file = weights_of_another("berlin_1")
    content = load_checkpoint_file(file)
    earlier = {"dataset_name": DATASET, "cases": [CASES[4]]}
    content[RECORD_KEY] |= {"stage": "finetuning", "started_from": None, "pretrained": earlier}
    save_checkpoint_file(content, file)
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny)
    with pytest.raises(UserError, match="case_04"):
        maybe_load_checkpoint(trainer, False, False, str(file))


@pytest.mark.parametrize("trainer_class", [Pix2RepFinetuneTrainer, nnUNetTrainerPix2RepPretrain])
def test_equal_names_in_both_datasets_are_warned_of_and_not_refused(tiny, weights_of_another, trainer_class):
    trainer = make_trainer(trainer_class, tiny)
    maybe_load_checkpoint(trainer, False, False, str(weights_of_another(CASES[0], CASES[4], "berlin_1")))
    log = training_log(trainer)
    assert f"have seen images of {OTHER}, of which 1 are named like validation cases of {DATASET}" in log
    assert "such as case_04" in log


def test_other_names_are_not_warned_of(tiny, weights_of_another):
    trainer = make_trainer(Pix2RepFinetuneTrainer, tiny)
    maybe_load_checkpoint(trainer, False, False, str(weights_of_another("berlin_1", CASES[0])))
    assert "named like" not in training_log(trainer)


def test_equal_names_count_in_every_training_before_but_not_in_the_own_dataset():
    first = {"dataset_name": "Dataset003_C", "cases": ["b", "a", "x"]}
    second = {"dataset_name": "Dataset002_B", "cases": ["c"], "started_from": first}
    record = {"dataset_name": "Dataset001_A", "cases": ["a", "b", "c"], "pretrained": second}
    found = equal_names_elsewhere(record, "Dataset001_A", ["c", "b", "a"])
    assert found == {"Dataset002_B": ["c"], "Dataset003_C": ["a", "b"]}
    assert equal_names_elsewhere({}, "Dataset001_A", ["a"]) == {}
