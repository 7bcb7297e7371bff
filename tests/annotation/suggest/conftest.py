import shutil

import pytest
from sparse_dataset import CONFIGURATIONS, copy_dataset, make_sparse_dataset
from tiny_training import DATASET, PLANS, prepare_for_training

from nnunet_pix2rep.annotation.suggest.output import write
from nnunet_pix2rep.annotation.suggest.request import SuggestSettings
from nnunet_pix2rep.annotation.suggest.run import suggest


@pytest.fixture(scope="session")
def sparse_root(tmp_path_factory):
    """nnU-Net's folders with a partly annotated dataset; not to be changed."""
    return make_sparse_dataset(tmp_path_factory.mktemp("sparse"))


@pytest.fixture
def sparse(sparse_root, monkeypatch):
    """The same, with nnU-Net's variables set."""
    prepare_for_training(monkeypatch, sparse_root / "nnUNet_preprocessed" / DATASET, sparse_root)
    return sparse_root


@pytest.fixture
def own_sparse(sparse_root, tmp_path, monkeypatch):
    """A copy that a test may change."""
    root = copy_dataset(sparse_root, tmp_path / "nnunet")
    prepare_for_training(monkeypatch, root / "nnUNet_preprocessed" / DATASET, root)
    return root


@pytest.fixture(scope="session")
def computed(sparse_root, tmp_path_factory):
    """Configuration -> a work folder of the partly annotated dataset; not to be changed."""
    folders = {configuration: tmp_path_factory.mktemp("computed") / "work" for configuration in CONFIGURATIONS}
    with pytest.MonkeyPatch.context() as patch:
        prepare_for_training(patch, sparse_root / "nnUNet_preprocessed" / DATASET, sparse_root)
        for configuration, folder in folders.items():
            suggest(DATASET, configuration, PLANS, folder, SuggestSettings(budget=6))
    return folders


@pytest.fixture
def work(sparse, computed, tmp_path):
    """A work folder to be, with the features that take longest to compute."""
    shutil.copytree(computed["2d"] / "features", tmp_path / "work" / "features")
    return tmp_path / "work"


@pytest.fixture
def without_pictures(monkeypatch):
    """The overview is an empty page: its pictures take longest."""
    monkeypatch.setattr(write, "write_overview", lambda *_, file, **__: file.touch())
