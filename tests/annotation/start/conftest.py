import multiprocessing
import shutil

import nnunetv2.utilities.utils
import numpy as np
import pytest
import SimpleITK
from planned_dataset import environment_of
from tiny_training import ThreadContext
from unlabeled_dataset import cine, volume, write

from nnunet_pix2rep.annotation.start import fingerprint
from nnunet_pix2rep.annotation.start.new_dataset import make_new_dataset
from nnunet_pix2rep.annotation.start.plan_unlabeled import plan_unlabeled


def work_in_this_process(patch):
    """nnU-Net's pools of processes are threads, and its extractor takes fewer voxels."""
    patch.setattr(multiprocessing, "get_context", lambda _method=None: ThreadContext)
    patch.setattr(nnunetv2.utilities.utils, "Pool", lambda processes: ThreadContext.Pool(1))
    patch.setattr(fingerprint, "NUM_VOXELS", 3e4)


@pytest.fixture
def root(tmp_path):
    """nnU-Net's folders, empty; the variables lead there."""
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (tmp_path / "nnunet" / name).mkdir(parents=True)
    with environment_of(tmp_path / "nnunet"):
        yield tmp_path / "nnunet"


@pytest.fixture
def scans(tmp_path):
    """Four scans of three kinds of files, one of them a cine."""
    folder = tmp_path / "my scans"
    for seed, name in enumerate(("anna 1.nrrd", "anna 2.mha", "ben.nii.gz"), start=10):
        write(volume(seed), folder / name)
    write(cine([20, 21, 22]), folder / "cine.nii.gz")
    return folder


@pytest.fixture
def in_this_process(monkeypatch):
    """See ``work_in_this_process``."""
    work_in_this_process(monkeypatch)


@pytest.fixture(scope="session")
def planned_template(tmp_path_factory):
    """The four scans as Dataset950_Start, planned and preprocessed for 2d; not to be changed."""
    root, folder = tmp_path_factory.mktemp("start"), tmp_path_factory.mktemp("scans")
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (root / name).mkdir()
    for seed, name in enumerate(("anna_1", "anna_2", "ben"), start=10):
        write(volume(seed), folder / f"{name}.nii.gz")
    write(cine([20, 21, 22]), folder / "cine.nii.gz")
    with environment_of(root), pytest.MonkeyPatch.context() as patch:
        work_in_this_process(patch)
        make_new_dataset(folder, 950, "Start", ["cavity", "wall"], patient_regex=r"([a-z]+).*")
        plan_unlabeled(950, ["2d"], num_processes=1)
    return root


def ct(seed, shape=(5, 40, 36)):
    """Air around a body of 0 to 100 HU with an organ of 200 HU."""
    voxels = np.full(shape, -1000, np.float32)
    voxels[:, 8:32, 6:30] = np.random.default_rng(seed).uniform(0, 100, (shape[0], 24, 24))
    voxels[:, 16:22, 14:20] = 200
    image = SimpleITK.GetImageFromArray(voxels)
    image.SetSpacing((1.5, 1.5, 8.0))
    return image


@pytest.fixture(scope="session")
def ct_template(tmp_path_factory):
    """Three CTs as Dataset950_Start, planned; not to be changed."""
    root, folder = tmp_path_factory.mktemp("ct"), tmp_path_factory.mktemp("cts")
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        (root / name).mkdir()
    for seed in range(3):
        write(ct(seed), folder / f"ct{seed}.nii.gz")
    with environment_of(root), pytest.MonkeyPatch.context() as patch:
        work_in_this_process(patch)
        make_new_dataset(folder, 950, "Start", ["organ", "other"], channels=["CT"])
        plan_unlabeled(950, ["2d"], num_processes=1)
    return root


@pytest.fixture
def ct_dataset(ct_template, tmp_path, in_this_process):
    """A copy of its folder in nnUNet_preprocessed."""
    shutil.copytree(ct_template, tmp_path / "ct")
    with environment_of(tmp_path / "ct"):
        yield tmp_path / "ct" / "nnUNet_preprocessed" / "Dataset950_Start"


@pytest.fixture
def planned(planned_template, tmp_path):
    """A copy of its folder in nnUNet_preprocessed, with the raw data beside it; the variables lead there."""
    shutil.copytree(planned_template, tmp_path / "planned")
    with environment_of(tmp_path / "planned"):
        yield tmp_path / "planned" / "nnUNet_preprocessed" / "Dataset950_Start"
