import shutil
from pathlib import Path

import pytest
from planned_dataset import DATASET, environment_of, make_planned_dataset
from tiny_training import make_tiny_dataset, make_trainer, prepare_for_training

from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.pretrain_trainer import nnUNetTrainerPix2RepPretrain


@pytest.fixture(scope="session")
def planned(tmp_path_factory):
    """nnU-Net's own plans, plain and residual, of a thick-sliced dataset; not to be changed."""
    return make_planned_dataset(tmp_path_factory.mktemp("planned"))


@pytest.fixture
def planned_copy(planned, tmp_path):
    """A dataset folder of one's own with those plans, which the environment variables lead to."""
    folder = tmp_path / "nnUNet_preprocessed" / DATASET
    shutil.copytree(planned, folder)
    with environment_of(tmp_path):
        yield folder


@pytest.fixture
def plans(planned):
    """The content of the plain plans."""
    return read_json(planned / "nnUNetPlans.json")


@pytest.fixture
def plans_with_cascade(plans):
    """The same with a low resolution and a cascade."""
    configurations = plans["configurations"]
    configurations["3d_lowres"] = configurations["3d_fullres"] | {"next_stage": "3d_cascade_fullres"}
    configurations["3d_cascade_fullres"] = {"inherits_from": "3d_fullres", "previous_stage": "3d_lowres"}
    return plans


@pytest.fixture(scope="session")
def tiny_dataset(tmp_path_factory):
    """A preprocessed dataset for real trainings of a second; not to be changed."""
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny"), configurations=("2d", "3d_fullres"))


@pytest.fixture(scope="session")
def pretrained_checkpoint(tiny_dataset, tmp_path_factory):
    """The final checkpoint of a pretraining in fold 0."""
    with pytest.MonkeyPatch.context() as patch:
        prepare_for_training(patch, tiny_dataset, tmp_path_factory.mktemp("pretrained"))
        trainer = make_trainer(nnUNetTrainerPix2RepPretrain, tiny_dataset)
        trainer.run_training()
        return Path(trainer.output_folder) / "checkpoint_final.pth"


@pytest.fixture
def tiny(tiny_dataset, tmp_path, monkeypatch):
    """The tiny dataset, with nnU-Net's variables set for trainings in this process and an empty results folder."""
    prepare_for_training(monkeypatch, tiny_dataset, tmp_path)
    return tiny_dataset


@pytest.fixture
def own_tiny(tiny_dataset, tmp_path, monkeypatch):
    """As ``tiny``, a copy that a test may change."""
    folder = tmp_path / "nnUNet_preprocessed" / tiny_dataset.name
    shutil.copytree(tiny_dataset, folder)
    prepare_for_training(monkeypatch, folder, tmp_path)
    return folder
