"""``nnunet_pix2rep plan --weights``: what it prints, and its next commands."""

import argparse
import shlex

import pytest
from planned_dataset import environment_of, make_planned_dataset

from nnunet_pix2rep.cli.train import plan
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.files import save_checkpoint_file


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A planned dataset of two channels, and a checkpoint that holds its plans of one."""
    root = tmp_path_factory.mktemp("planned")
    folder = make_planned_dataset(root, shape=(10, 160, 160))
    dataset_json, plans = read_json(folder / "dataset.json"), read_json(folder / "nnUNetPlans.json")
    content = {
        "plans": plans | {"dataset_name": "Dataset422_Large"},
        "configuration": "2d",
        "dataset_json": dataset_json,
    }
    save_checkpoint_file({"network_weights": {}, "init_args": content}, root / "the weights.pth")
    write_json(dataset_json | {"channel_names": {"0": "MRI", "1": "T2"}}, folder / "dataset.json")
    for configuration in plans["configurations"].values():
        if "normalization_schemes" in configuration:
            configuration |= {"normalization_schemes": ["ZScoreNormalization"] * 2, "use_mask_for_norm": [False] * 2}
    write_json(plans, folder / "nnUNetPlans.json")
    with environment_of(root):
        yield folder


def run(command):
    parser = argparse.ArgumentParser()
    plan.add_arguments(parser)
    return plan.run(parser.parse_args(shlex.split(command)))


def weights_of(dataset):
    """The path as one types it."""
    return shlex.quote(str(dataset.parents[1] / "the weights.pth"))


def test_it_says_where_the_plans_are_from_what_is_not_set_and_what_comes_next(dataset, capsys, monkeypatch):
    monkeypatch.setattr("nnunet_pix2rep.devices.usable_devices", lambda: ("cpu", "cuda"))
    weights = weights_of(dataset)
    assert run(f"-d 900 -c 2d -o Large --weights {weights}") == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("network of Dataset422_Large" in line for line in lines)
    assert "Normalization: that of nnUNetPlans" in lines
    (hint,) = (line for line in lines if "input channel" in line)
    assert "of 1 input channel(s) and the images have 2" in hint
    assert "--set finetuning.other_input_channels=adapt" in hint
    assert lines[-2:] == [
        "  nnUNetv2_preprocess -d 900 -plans_name Large -c 2d",
        f"  nnUNetv2_train 900 2d 0 -p Large -tr nnUNetTrainerPix2RepFinetune -pretrained_weights {weights}",
    ]


@pytest.mark.parametrize("stage", ["pretraining", "finetuning"])
def test_with_the_setting_there_is_no_hint(dataset, capsys, stage):
    run(f"-d 900 -c 2d -o {stage} --weights {weights_of(dataset)} --set {stage}.other_input_channels=adapt")
    assert "which a training refuses" not in capsys.readouterr().out


def test_a_compact_network_would_not_fit(dataset):
    with pytest.raises(UserError, match="--compact plans another network"):
        run(f"-d 900 -c 2d -o Small --compact --weights {weights_of(dataset)}")
    assert not (dataset / "Small.json").exists()


def test_data_of_plans_that_are_replaced_is_preprocessed_again(dataset, capsys):
    (dataset / "Again_2d").mkdir()
    run(f"-d 900 -c 2d -o Again --weights {weights_of(dataset)}")
    assert "  nnUNetv2_preprocess -d 900 -plans_name Again -c 2d" in capsys.readouterr().out.splitlines()
