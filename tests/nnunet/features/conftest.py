from pathlib import Path

import pytest
import torch
from in_context_folders import make_folders, raw_of
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_training import REGIONS, make_tiny_dataset, make_trainer, prepare_for_training

from nnunet_pix2rep.nnunet.feature_model import load_feature_model
from nnunet_pix2rep.nnunet.pretrain_trainer import nnUNetTrainerPix2RepV2Pretrain


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
