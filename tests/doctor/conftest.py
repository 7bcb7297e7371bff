import shutil

import pytest
from tiny_training import make_tiny_dataset, prepare_for_training


@pytest.fixture(scope="session")
def sound_dataset(tmp_path_factory):
    """A dataset with nothing wrong; not to be changed."""
    return make_tiny_dataset(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def dataset(sound_dataset, tmp_path, monkeypatch):
    """A copy of its folder in nnUNet_preprocessed, with the raw data beside it; the variables lead there."""
    root = tmp_path / "nnunet"
    shutil.copytree(sound_dataset.parents[1], root)
    prepare_for_training(monkeypatch, root / "nnUNet_preprocessed" / sound_dataset.name, root)
    (root / "nnUNet_results").mkdir()
    return root / "nnUNet_preprocessed" / sound_dataset.name
