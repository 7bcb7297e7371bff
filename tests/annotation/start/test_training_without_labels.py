"""Trainers on a dataset of scans alone, and on the first label."""

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from tiny_training import PLANS, make_trainer, prepare_for_training, tiny_plans, training_log
from unlabeled_dataset import write

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.patients.split_files import read_dataset_patients
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.finetuning.mean_teacher import Pix2RepMeanTeacherTrainer
from nnunet_pix2rep.nnunet.training.pretraining.masked_autoencoder import nnUNetTrainerMaskedAutoencoderPretrain
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import (
    nnUNetTrainerPix2RepPretrain,
    nnUNetTrainerPix2RepV2Pretrain,
)
from nnunet_pix2rep.nnunet.unlabeled.preprocess import preprocess_unlabeled

IGNORE = 3
IMAGES = ["anna_1", "anna_2", "ben", "cine_frame01", "cine_frame02", "cine_frame03"]
SHORT = {"num_epochs": 1, "num_iterations_per_epoch": 2, "num_val_iterations_per_epoch": 1}


@pytest.fixture
def scans_alone(planned, tmp_path, monkeypatch):
    """The dataset with plans of a tiny network; the preprocessed folder."""
    prepare_for_training(monkeypatch, planned, tmp_path)
    write_json(tiny_plans(read_json(planned / "nnUNetPlans.json"), ["2d", "3d_fullres"]), planned / f"{PLANS}.json")
    return planned


def pretrain(trainer_class, folder, configuration="2d"):
    preprocess_unlabeled(folder.name, configuration, PLANS, num_processes=1)
    trainer = make_trainer(trainer_class, folder, "all", configuration, pretraining=SHORT)
    trainer.run_training()
    return trainer, load_checkpoint_file(f"{trainer.output_folder}/checkpoint_final.pth")


@pytest.mark.parametrize(
    ("trainer_class", "configuration"),
    [
        (nnUNetTrainerPix2RepPretrain, "2d"),
        (nnUNetTrainerPix2RepV2Pretrain, "3d_fullres"),
        (nnUNetTrainerMaskedAutoencoderPretrain, "2d"),
        (nnUNetTrainerMaskedAutoencoderPretrain, "3d_fullres"),
    ],
)
def test_every_pretraining_runs_on_scans_alone(scans_alone, trainer_class, configuration):
    trainer, checkpoint = pretrain(trainer_class, scans_alone, configuration)
    assert checkpoint[RECORD_KEY]["cases"] == IMAGES
    assert trainer.preprocessed_dataset_folder == str(scans_alone / f"{PLANS}_{configuration}")
    assert f"6 of 3 patients from {PLANS}_{configuration}_unlabeled" in training_log(trainer)


def test_nnunet_infers_no_storage_from_a_folder_without_cases(tmp_path):
    """The reason for leading it to the pool."""
    with pytest.raises(AssertionError):
        infer_dataset_class(str(tmp_path))


def test_a_numbered_fold_is_refused_at_once(scans_alone):
    preprocess_unlabeled(950, "2d", PLANS, num_processes=1)
    trainer = make_trainer(nnUNetTrainerPix2RepV2Pretrain, scans_alone, 0)
    with pytest.raises(UserError, match=r"no labeled case yet, so it has no fold 0: pretrain in fold all"):
        trainer.initialize()


def test_without_preprocessed_images_the_command_is_named(scans_alone):
    trainer = make_trainer(nnUNetTrainerPix2RepV2Pretrain, scans_alone, "all", "3d_fullres")
    with pytest.raises(UserError, match=f"preprocess_unlabeled -d Dataset950_Start -c 3d_fullres -p {PLANS}"):
        trainer.run_training()


@pytest.mark.parametrize("trainer_class", [Pix2RepFinetuneTrainer, Pix2RepMeanTeacherTrainer])
@pytest.mark.parametrize("fold", [0, "all"])
def test_fine_tuning_says_that_labels_are_missing(scans_alone, trainer_class, fold):
    with pytest.raises(UserError, match="no labeled case yet"):
        make_trainer(trainer_class, scans_alone, fold).initialize()


def test_splits_need_labels(scans_alone):
    with pytest.raises(UserError, match=r"no labeled case yet\..* suggest -d 950 .* collect -d 950 "):
        read_dataset_patients(950)


def take_in_first_label(folder, configuration="2d"):
    """Moves ben to the labeled cases, with one annotated slice, and preprocesses it under the plans that are there."""
    raw = folder.parents[1] / "nnUNet_raw" / folder.name
    image = raw / "imagesTr" / "ben_0000.nii.gz"
    (raw / "imagesUn" / image.name).replace(image)
    scan = SimpleITK.ReadImage(str(image))
    voxels = SimpleITK.GetArrayFromImage(scan)
    labels = np.full(voxels.shape, IGNORE, np.uint8)
    labels[2] = voxels[2] > 150
    label = SimpleITK.GetImageFromArray(labels)
    label.CopyInformation(scan)
    label_file = write(label, raw / "labelsTr" / "ben.nii.gz")
    dataset_json = read_json(raw / "dataset.json") | {"numTraining": 1}
    for place in (raw, folder):
        write_json(dataset_json, place / "dataset.json")
    plans_manager = PlansManager(deepcopy(read_json(folder / f"{PLANS}.json")))
    manager = plans_manager.get_configuration(configuration)
    data = folder / manager.data_identifier
    data.mkdir()
    DefaultPreprocessor(verbose=False).run_case_save(
        str(data / "ben"), [str(image)], str(label_file), plans_manager, manager, dataset_json
    )


def test_weights_plans_and_pool_stay_valid_when_the_first_label_comes(scans_alone):
    trainer, _ = pretrain(nnUNetTrainerPix2RepV2Pretrain, scans_alone)
    plans = (scans_alone / f"{PLANS}.json").read_text()
    take_in_first_label(scans_alone)
    report = preprocess_unlabeled(950, "2d", PLANS, num_processes=1)
    assert report.num_made == 0
    finetuning = make_trainer(Pix2RepFinetuneTrainer, scans_alone, "all", finetuning=SHORT)
    finetuning.initialize()
    finetuning.load_pretrained(Path(trainer.output_folder) / "checkpoint_final.pth")
    finetuning.run_training()
    assert finetuning.do_split() == (["ben"], ["ben"])
    assert "68 tensors match" in training_log(finetuning)
    again, checkpoint = pretrain(nnUNetTrainerPix2RepPretrain, scans_alone)
    assert checkpoint[RECORD_KEY]["cases"] == IMAGES
    assert f"1 of 1 patients from {PLANS}_2d, " in training_log(again)
    assert (scans_alone / f"{PLANS}.json").read_text() == plans
