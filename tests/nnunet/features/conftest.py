from pathlib import Path

import pytest
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from tiny_training import make_tiny_dataset, make_trainer, prepare_for_training

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
    from tiny_training import REGIONS

    folder = make_tiny_dataset(tmp_path_factory.mktemp("regions"), labels=REGIONS, num_channels=2)
    return checkpoint_of(nnUNetTrainerPix2RepV2Pretrain, folder), folder


@pytest.fixture
def load():
    """Loads a checkpoint on the CPU."""
    return lambda checkpoint, features=None: load_feature_model(checkpoint, features, torch.device("cpu"))


def raw_of(preprocessed):
    """The dataset's raw folder."""
    return preprocessed.parents[1] / "nnUNet_raw" / preprocessed.name


@pytest.fixture
def folders(tiny_dataset, tmp_path):
    """Support and query folders, as the commands take them: two annotated images, one to segment."""
    return make_folders(raw_of(tiny_dataset), tmp_path)


def make_folders(raw, root):
    """Links ``case_00`` and ``case_01`` as support and ``case_04`` as query; returns the folders by name."""
    made = {name: root / name for name in ("images", "labels", "query")}
    for folder in made.values():
        folder.mkdir()
    for image in sorted((raw / "imagesTr").iterdir()):
        case = image.name[: len("case_00")]
        folder = made["query"] if case == "case_04" else made["images"] if case in ("case_00", "case_01") else None
        if folder is not None:
            (folder / image.name).symlink_to(image)
    for case in ("case_00", "case_01"):
        (made["labels"] / f"{case}.nii.gz").symlink_to(raw / "labelsTr" / f"{case}.nii.gz")
    return made | {"output": root / "output"}
