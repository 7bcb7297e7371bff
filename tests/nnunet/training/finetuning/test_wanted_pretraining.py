from copy import deepcopy

import pytest
from tiny_training import CASES, PLANS

from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file
from nnunet_pix2rep.nnunet.training.finetuning.wanted_pretraining import WantedPretraining, planned_for_pretraining

INTENSITIES = "foreground_intensity_properties_per_channel"


@pytest.fixture
def plans(tiny_dataset):
    """Those that ``pretrained_checkpoint`` was made with."""
    return read_json(tiny_dataset / f"{PLANS}.json")


def is_wanted(plans, file, finished=True, settings=(), checkpoint=None):
    config = Pix2RepConfig.from_block(plans["configurations"]["2d"]["pix2rep"], "plans").with_settings(settings)
    wanted = WantedPretraining(config, list(CASES[4:]), planned_for_pretraining(plans, "2d"))
    return wanted.is_of(checkpoint or load_checkpoint_file(file), str(file), finished)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spacing", [3.0, 3.0]),
        ("patch_size", [16, 16]),
        ("batch_size", 3),
        ("normalization_schemes", ["NoNormalization"]),
        ("use_mask_for_norm", [True]),
        ("resampling_fn_data_kwargs", {"is_seg": False, "order": 1}),
    ],
)
def test_a_pretraining_under_another_configuration_is_another(plans, pretrained_checkpoint, name, value):
    assert is_wanted(plans, pretrained_checkpoint)
    assert plans["configurations"]["2d"][name] != value
    plans["configurations"]["2d"][name] = value
    assert not is_wanted(plans, pretrained_checkpoint)
    # one that is not finished may go on with batches of another size
    assert is_wanted(plans, pretrained_checkpoint, finished=False) == (name in ("patch_size", "batch_size"))


def test_a_pretraining_of_another_network_is_another(plans, pretrained_checkpoint):
    architecture = plans["configurations"]["2d"]["architecture"]["arch_kwargs"]
    architecture["nonlin_kwargs"] = {"inplace": False}
    assert not is_wanted(plans, pretrained_checkpoint)


@pytest.mark.parametrize(("scheme", "same"), [("ZScoreNormalization", True), ("CTNormalization", False)])
def test_intensities_count_where_the_normalization_uses_them(plans, pretrained_checkpoint, scheme, same):
    plans["configurations"]["2d"]["normalization_schemes"] = [scheme]
    checkpoint = load_checkpoint_file(pretrained_checkpoint)
    checkpoint["init_args"]["plans"] = deepcopy(plans)
    plans[INTENSITIES]["0"]["mean"] += 1
    assert is_wanted(plans, pretrained_checkpoint, checkpoint=checkpoint) == same


@pytest.mark.parametrize(("setting", "may_go_on"), [("num_epochs=9", True), ("seed=9", False)])
def test_a_pretraining_goes_on_with_other_settings_where_continuing_allows_it(
    plans, pretrained_checkpoint, setting, may_go_on
):
    settings = [f"pretraining.{setting}"]
    assert not is_wanted(plans, pretrained_checkpoint, settings=settings)
    assert is_wanted(plans, pretrained_checkpoint, finished=False, settings=settings) == may_go_on


def test_settings_of_fine_tuning_may_be_any(plans, pretrained_checkpoint):
    assert is_wanted(plans, pretrained_checkpoint, settings=["finetuning.optimizer=sgd"])


def test_a_checkpoint_of_stock_nnunet_is_none(plans, finetuning):
    assert not is_wanted(plans, finetuning)
