"""What is said of a pretraining that no longer fits the fold, or has not seen what is there by now."""

import shutil
from pathlib import Path

import pytest
from tiny_training import CASES, DATASET, PLANS, make_trainer, training_log

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.pretrain_again import describe_unseen
from nnunet_pix2rep.nnunet.unlabeled.pool import Pool, PoolImage, pool_folder, preprocessing_of

TRAINER = "nnUNetTrainerPix2RepPretrain"
COMMAND = f"nnUNetv2_train {DATASET} 2d 0 -p {PLANS} -tr {TRAINER}"


@pytest.fixture
def own_pretraining(own_tiny, pretrained_checkpoint, tmp_path):
    """The checkpoint of fold 0 where nnU-Net's training of that fold puts it."""
    file = tmp_path / "nnUNet_results" / DATASET / f"{TRAINER}__{PLANS}__2d" / "fold_0" / "checkpoint_final.pth"
    file.parent.mkdir(parents=True)
    shutil.copy(pretrained_checkpoint, file)
    return file


def refusal(folder, file, fold=0):
    with pytest.raises(UserError, match="have seen images of the patients") as refused:
        make_trainer(Pix2RepFinetuneTrainer, folder, fold).load_pretrained(file)
    return str(refused.value)


def same_patient(folder):
    """From now on the first case is of a validation patient of folds 0 and 1."""
    write_json({case: {"patient": CASES[4] if case == CASES[0] else case} for case in CASES}, folder / "patients.json")


@pytest.mark.parametrize("change", ["patients", "split"])
def test_own_weights_whose_patients_changed_are_to_be_pretrained_again(own_tiny, own_pretraining, change):
    if change == "patients":
        same_patient(own_tiny)
    else:
        splits = read_json(own_tiny / "splits_final.json")
        write_json([splits[2], *splits[1:]], own_tiny / "splits_final.json")
    message = refusal(own_tiny, own_pretraining)
    assert "patients.json or the split changed since; pretrain again (replaces it)" in message
    assert message.endswith(f"To pretrain again: {COMMAND} -device cpu")
    assert "Pretrain in this fold" not in message


def test_weights_of_another_fold_or_place_are_to_be_pretrained_in_this_fold(own_tiny, own_pretraining, tmp_path):
    assert "Pretrain in this fold, or set" in refusal(own_tiny, own_pretraining, fold=2)
    same_patient(own_tiny)
    copy = shutil.copy(own_pretraining, tmp_path / "copy.pth")
    message = refusal(own_tiny, copy)
    assert "Pretrain in this fold, or set" in message
    assert "changed since" not in message


# ------------------------------------------------------------------------------------------------------- unseen images


def add_to_pool(folder, *names):
    """Unlabeled images of patients of their own; what they show does not matter here."""
    trainer = make_trainer(Pix2RepFinetuneTrainer, folder)
    where = pool_folder(folder, f"{PLANS}_2d")
    where.mkdir()
    images = {name: PoolImage(name, str(where), {}, 0) for name in names}
    Pool(where, preprocessing_of(trainer.plans_manager, trainer.configuration_manager), images).write()
    for name in names:
        (where / f"{name}.b2nd").touch()


def unseen(folder, record, fold=0):
    trainer = make_trainer(Pix2RepFinetuneTrainer, folder, fold)
    return describe_unseen(trainer, record, [] if fold == "all" else trainer.do_split()[1])


def test_a_fine_tuning_logs_what_its_pretraining_has_not_seen(own_tiny, own_pretraining):
    add_to_pool(own_tiny, "new_a", "new_b")
    trainer = make_trainer(Pix2RepFinetuneTrainer, own_tiny)
    trainer.initialize()
    trainer.load_pretrained(own_pretraining)
    line = "This pretraining has seen 4 of the 6 images that one would see now; to pretrain again: "
    assert training_log(trainer).count(f"{line}{COMMAND} -device cpu") == 1


def test_nothing_is_logged_where_all_has_been_seen(own_tiny, own_pretraining):
    trainer = make_trainer(Pix2RepFinetuneTrainer, own_tiny)
    trainer.initialize()
    trainer.load_pretrained(own_pretraining)
    assert "would see now" not in training_log(trainer)


def test_images_of_validation_patients_do_not_count(own_tiny, pretrained_checkpoint):
    add_to_pool(own_tiny, "new_a")
    patients = {case: {"patient": case} for case in CASES} | {"new_a": {"patient": CASES[4]}}
    write_json(patients, own_tiny / "patients.json")
    record = load_checkpoint_file(pretrained_checkpoint)[RECORD_KEY]
    assert unseen(own_tiny, record) == []
    (line,) = unseen(own_tiny, record, "all")
    assert "seen 4 of the 7 images" in line
    assert f"nnUNetv2_train {DATASET} 2d all " in line


def test_a_pretraining_that_folds_share_is_done_again_where_it_was(own_tiny, pretrained_checkpoint):
    add_to_pool(own_tiny, "new_a")
    record = load_checkpoint_file(pretrained_checkpoint)[RECORD_KEY] | {"started_from": {"file": "/my weights.pth"}}
    (line,) = unseen(own_tiny, record, 1)
    assert line.endswith(f"{COMMAND} -pretrained_weights '/my weights.pth' -device cpu")


@pytest.mark.parametrize(
    "other", [{"dataset_name": "Dataset902_Other"}, {"stage": "finetuning"}, {"cases": []}, {"stage": None}]
)
def test_nothing_is_said_where_it_is_not_known(own_tiny, pretrained_checkpoint, other):
    add_to_pool(own_tiny, "new_a")
    record = load_checkpoint_file(pretrained_checkpoint)[RECORD_KEY] | other
    assert unseen(own_tiny, record) == []


def test_a_pool_of_other_plans_does_not_stop_a_fine_tuning(own_tiny, pretrained_checkpoint):
    add_to_pool(own_tiny, "new_a")
    file = Path(f"{pool_folder(own_tiny, f'{PLANS}_2d')}.json")
    write_json(read_json(file) | {"preprocessing": {}}, file)
    record = load_checkpoint_file(pretrained_checkpoint)[RECORD_KEY]
    assert unseen(own_tiny, record) == []
