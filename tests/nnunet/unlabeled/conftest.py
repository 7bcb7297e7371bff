import shutil

import pytest
from planned_dataset import DATASET, environment_of
from unlabeled_dataset import make_dataset_with_images


@pytest.fixture(scope="session")
def template(tmp_path_factory):
    """A planned dataset with five labeled images; not to be changed."""
    root = tmp_path_factory.mktemp("template")
    make_dataset_with_images(root)
    return root


@pytest.fixture
def root(template, tmp_path):
    """A copy of one's own, which nnU-Net's variables lead to."""
    shutil.copytree(template, tmp_path / "root")
    with environment_of(tmp_path / "root"):
        yield tmp_path / "root"


@pytest.fixture
def raw(root):
    """Its raw dataset."""
    return root / "nnUNet_raw" / DATASET


@pytest.fixture
def preprocessed(root):
    """Its folder of preprocessed data."""
    return root / "nnUNet_preprocessed" / DATASET


@pytest.fixture
def source(tmp_path):
    """A folder for images to be added, which is not there yet."""
    return tmp_path / "Möhre mit Leerzeichen"
