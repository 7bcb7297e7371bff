import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from planned_dataset import DATASET, environment_of
from unlabeled_dataset import cine, make_dataset_with_images, volume, write

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import check_leak
from nnunet_pix2rep.nnunet.loading.patch_loader import ViewPairLoader
from nnunet_pix2rep.nnunet.training.finetuning.mean_teacher import Pix2RepMeanTeacherTrainer
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepV2Pretrain
from nnunet_pix2rep.nnunet.unlabeled.preprocess import preprocess_unlabeled
from nnunet_pix2rep.nnunet.unlabeled.waiting import waiting_scans


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Five labeled cases of five patients; the pool has a cine of two of them, and one of a sixth patient."""
    root = tmp_path_factory.mktemp("template")
    make_dataset_with_images(root)
    raw, preprocessed = root / "nnUNet_raw" / DATASET, root / "nnUNet_preprocessed" / DATASET
    patients = {f"case_0{n}": f"P{n}" for n in range(5)} | {"cine_a": "P0", "cine_b": "P4", "cine_c": "P5"}
    write_json({case: {"patient": name} for case, name in patients.items()}, raw / "patients.json")
    for case in ("cine_a", "cine_b", "cine_c"):
        write(cine([20, 21]), raw / "imagesUn" / f"{case}_0000.nii.gz")
    fold = {"train": ["case_00"], "val": ["case_04"]}
    write_json([fold, fold | {"val": ["case_03"]}], preprocessed / "splits_final.json")
    with environment_of(root):
        preprocess_unlabeled(DATASET, "2d", num_processes=1)
        # any image will do for the labeled cases
        labeled = preprocessed / "nnUNetPlans_2d"
        labeled.mkdir()
        for case in range(5):
            shutil.copy(
                preprocessed / "nnUNetPlans_2d_unlabeled" / "cine_a_frame01.b2nd", labeled / f"case_0{case}.b2nd"
            )
    return root


@pytest.fixture
def root(template, tmp_path, monkeypatch):
    shutil.copytree(template, tmp_path / "root")
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    with environment_of(tmp_path / "root"):
        yield tmp_path / "root"


@pytest.fixture
def make_trainer(root):
    def make(cls, fold):
        folder = root / "nnUNet_preprocessed" / DATASET
        plans = read_json(folder / "nnUNetPlans.json") | {"continue_training": False}
        trainer = cls(plans, "2d", fold, read_json(folder / "dataset.json"), torch.device("cpu"))
        # what initialize() takes from the configuration, without building the network
        trainer.batch_size = 2
        return trainer

    return make


def log_of(trainer) -> str:
    return Path(trainer.log_file).read_text(encoding="utf-8")


def test_pretraining_takes_labeled_images_and_pool_without_validation_patients(make_trainer):
    trainer = make_trainer(nnUNetTrainerPix2RepV2Pretrain, 0)
    training, _ = trainer.get_dataloaders()
    expected = [f"case_0{n}" for n in range(4)] + [f"cine_{c}_frame0{f}" for c in "ac" for f in (1, 2)]
    assert trainer.cases_used == sorted(expected)
    assert trainer.held_out_patients == ["P4"]
    log = log_of(trainer)
    assert "4 of 4 patients from nnUNetPlans_2d, 4 of 2 patients from nnUNetPlans_2d_unlabeled" in log
    assert "Each of the 5 patients is drawn equally often" in log
    drawn = {key for _ in range(12) for key in next(training)["keys"]}
    assert drawn <= set(expected)
    assert any("cine" in key for key in drawn)


def test_fold_all_takes_the_whole_pool(make_trainer):
    training, _ = make_trainer(nnUNetTrainerPix2RepV2Pretrain, "all").get_cases()
    assert len(training) == 5 + 6


def test_the_mean_teacher_takes_the_pool_too(make_trainer):
    cases = make_trainer(Pix2RepMeanTeacherTrainer, 0).get_unlabeled_cases()
    names = sorted(case.identifier for case in cases)
    assert names == ["case_01", "case_02", "case_03"] + [f"cine_{c}_frame0{f}" for c in "ac" for f in (1, 2)]


def test_without_a_pool_training_is_as_before(make_trainer, root):
    folder = root / "nnUNet_preprocessed" / DATASET
    shutil.rmtree(folder / "nnUNetPlans_2d_unlabeled")
    (folder / "nnUNetPlans_2d_unlabeled.json").unlink()
    training, validation = make_trainer(nnUNetTrainerPix2RepV2Pretrain, 0).get_cases()
    assert [case.identifier for case in training] == [f"case_0{n}" for n in range(4)]
    assert [case.identifier for case in validation] == ["case_04"]


def test_scans_that_are_not_preprocessed_for_the_configuration_are_warned_of(make_trainer, root):
    trainer = make_trainer(nnUNetTrainerPix2RepV2Pretrain, 0)
    trainer.get_cases()
    assert "WARNING" not in log_of(trainer)
    folder = root / "nnUNet_preprocessed" / DATASET
    (folder / "nnUNetPlans_2d_unlabeled" / "cine_b_frame02.b2nd").unlink()
    write(cine([30, 31]), root / "nnUNet_raw" / DATASET / "imagesUn" / "late_0000.nii.gz")
    command = f"nnunet_pix2rep preprocess_unlabeled -d {DATASET} -c 2d -p nnUNetPlans"
    trainer.get_cases()
    assert "WARNING: 2 scan(s) in imagesUn, such as cine_b, are not preprocessed for 2d" in log_of(trainer)
    assert command in log_of(trainer)
    (folder / "nnUNetPlans_2d_unlabeled.json").unlink()
    shutil.rmtree(folder / "nnUNetPlans_2d_unlabeled")
    trainer.get_cases()
    assert "WARNING: 4 scan(s) in imagesUn" in log_of(trainer)


def test_scans_that_were_left_out_do_not_wait(root):
    raw, folder = root / "nnUNet_raw" / DATASET, root / "nnUNet_preprocessed" / DATASET
    write(volume(1) * 0, raw / "imagesUn" / "blank_0000.nii.gz")
    write(cine([20, 21]), raw / "imagesUn" / "case_00_0000.nii.gz")
    assert waiting_scans(folder, "nnUNetPlans_2d") == ["blank"]
    assert preprocess_unlabeled(DATASET, "2d", num_processes=1).selection.left_out
    assert waiting_scans(folder, "nnUNetPlans_2d") == []
    assert waiting_scans(folder, "nnUNetPlans_3d_fullres") == ["blank", "cine_a", "cine_b", "cine_c"]


def test_the_leak_guard_knows_the_pool(root):
    folder = root / "nnUNet_preprocessed" / DATASET
    checkpoint = {"pix2rep": {"dataset_name": DATASET, "cases": ["case_00", "cine_b_frame01"]}}
    with pytest.raises(UserError, match="case_04"):
        check_leak(checkpoint, Path("there.pth"), DATASET, folder, ["case_04"])
    assert check_leak(checkpoint, Path("there.pth"), DATASET, folder, ["case_03"]) == []


def test_a_case_that_was_labeled_later_is_not_drawn_twice(make_trainer, root):
    folder = root / "nnUNet_preprocessed" / DATASET
    shutil.copy(
        folder / "nnUNetPlans_2d_unlabeled" / "cine_a_frame01.b2nd", folder / "nnUNetPlans_2d" / "cine_a_frame01.b2nd"
    )
    trainer = make_trainer(nnUNetTrainerPix2RepV2Pretrain, "all")
    training, _ = trainer.get_cases()
    names = [case.identifier for case in training]
    assert len(names) == len(set(names)) == 5 + 6
    assert "named like a labeled case" in log_of(trainer)


def test_the_loader_follows_the_probabilities(make_trainer):
    trainer = make_trainer(nnUNetTrainerPix2RepV2Pretrain, "all")
    cases, _ = trainer.get_cases()
    loader = trainer.get_dataloaders()[0].data_loader
    assert isinstance(loader, ViewPairLoader)
    loader.probabilities = [float(case.identifier == "case_02") for case in cases]
    assert {key for index in range(3) for key in loader.make_batch(index)["keys"]} == {"case_02"}
    loader.probabilities = None
    uniform = [key for index in range(5) for key in loader.make_batch(index)["keys"]]
    assert len(set(uniform)) > 2
    assert np.isfinite(loader.make_batch(0)["images"]).all()
