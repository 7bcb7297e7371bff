import shutil

import pytest
from planned_dataset import DATASET, environment_of, make_planned_dataset

from nnunet_pix2rep.files import read_json


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
