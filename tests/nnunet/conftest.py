import shutil
from pathlib import Path

import pytest
import torch
from in_context_folders import make_folders, raw_of
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from planned_dataset import DATASET, environment_of, make_planned_dataset
from tiny_training import (
    PLANS,
    REGIONS,
    RESIDUAL_PLANS,
    make_tiny_dataset,
    make_trainer,
    prepare_for_training,
)

from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.features.model import load_feature_model
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import (
    nnUNetTrainerPix2RepPretrain,
    nnUNetTrainerPix2RepV2Pretrain,
)


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


@pytest.fixture(scope="session", params=[PLANS, RESIDUAL_PLANS])
def finished_pretraining_3d(request, tiny_dataset, tmp_path_factory):
    """Plans and final checkpoint of a three-dimensional pretraining, of plain and of residual blocks."""
    with pytest.MonkeyPatch.context() as patch:
        prepare_for_training(patch, tiny_dataset, tmp_path_factory.mktemp("pretrained_3d"))
        trainer = make_trainer(
            nnUNetTrainerPix2RepV2Pretrain, tiny_dataset, configuration="3d_fullres", plans_name=request.param
        )
        trainer.run_training()
        return request.param, Path(trainer.output_folder) / "checkpoint_final.pth"


@pytest.fixture(scope="session")
def checkpoint_of(tiny_dataset, tmp_path_factory):
    """Makes checkpoints of networks that have not trained: what is computed does not depend on what was learned."""

    def make(trainer_class, folder=tiny_dataset, configuration="2d"):
        with pytest.MonkeyPatch.context() as patch:
            prepare_for_training(patch, folder, tmp_path_factory.mktemp("untrained"))
            trainer = make_trainer(trainer_class, folder, configuration=configuration)
            trainer.initialize()
            trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()  # notes the axes to mirror along
            path = Path(trainer.output_folder) / "checkpoint_final.pth"
            trainer.save_checkpoint(str(path))
            return path

    return make


@pytest.fixture(scope="session")
def pretraining(checkpoint_of):
    """A checkpoint with a projection head, 2D."""
    return checkpoint_of(nnUNetTrainerPix2RepV2Pretrain)


@pytest.fixture(scope="session")
def pretraining_3d(checkpoint_of):
    return checkpoint_of(nnUNetTrainerPix2RepV2Pretrain, configuration="3d_fullres")


@pytest.fixture(scope="session")
def finetuning(checkpoint_of):
    """A checkpoint of stock nnU-Net: without a projection head."""
    return checkpoint_of(nnUNetTrainer)


@pytest.fixture(scope="session")
def region_pretraining(checkpoint_of, tmp_path_factory):
    """A checkpoint of a dataset with regions and two channels, and the dataset's preprocessed folder."""
    folder = make_tiny_dataset(tmp_path_factory.mktemp("regions"), labels=REGIONS, num_channels=2)
    return checkpoint_of(nnUNetTrainerPix2RepV2Pretrain, folder), folder


@pytest.fixture
def load():
    """Loads a checkpoint on the CPU."""
    return lambda checkpoint, features=None: load_feature_model(checkpoint, features, torch.device("cpu"))


@pytest.fixture
def folders(tiny_dataset, tmp_path):
    """Support and query folders, as the commands take them: two annotated images, one to segment."""
    return make_folders(raw_of(tiny_dataset), tmp_path)
