import shlex

import pytest
from planned_dataset import environment_of
from tiny_training import CASES, DATASET, PLANS, make_tiny_dataset

from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.cli.measure.benchmark import _parameters
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return make_tiny_dataset(tmp_path_factory.mktemp("tiny")).parents[1]


@pytest.fixture
def run(root, tmp_path):
    def benchmark(options):
        with environment_of(root):
            return main(shlex.split(f"benchmark -d 901 -c 2d -p {PLANS} -o {tmp_path / 'out'} {options}"))

    return benchmark


def test_a_dry_run_prints_what_a_cluster_user_can_submit(run, tmp_path, capsys):
    assert run("--methods scratch pix2rep --shots 1 --seeds 1 --test 2 --dry-run --device cpu --iterations 8") == 0
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if line.startswith(("nnUNetv2_", "export"))]
    assert [line.split()[0] for line in lines] == ["export", "nnUNetv2_train"] * 3
    pretraining, scratch, pix2rep = lines[1::2]
    common = f"nnUNetv2_train {DATASET} 2d 0 -p {PLANS} -tr"
    assert pretraining == f"{common} nnUNetTrainerPix2RepPretrain -device cpu"
    assert scratch == f"{common} nnUNetTrainerConfiguredLength -device cpu"
    assert pix2rep.startswith(f"{common} nnUNetTrainerPix2RepFinetune -device cpu -pretrained_weights ")
    for line in lines[::2]:
        assert f"nnUNet_preprocessed={tmp_path / 'out' / 'nnUNet_preprocessed'}" in line
        assert "nnUNet_extTrainer=" in line
    assert len({line.partition("nnUNet_results=")[2].split()[0] for line in lines[::2]}) == 3
    assert not (tmp_path / "out" / "cells").exists()


def test_options_reach_the_record(run, tmp_path):
    run("--shots 2 all --seeds 2 --test 0.34 --seed 7 --surface-tolerance 1.5 --pretraining-iterations 6 --dry-run")
    record = read_json(tmp_path / "out" / "benchmark.json")
    assert record["settings"] == {
        "dataset": DATASET,
        "configuration": "2d",
        "plans": PLANS,
        "iterations": None,
        "pretraining_iterations": 6,
        "test": 0.34,
        "split_seed": 7,
        "patient_regex": None,
        "pretraining_per_seed": False,
        "surface_tolerance": 1.5,
    }
    assert record["methods"] == ["scratch", "scratch_same_schedule", "pix2rep", "pix2rep_v2", "masked_autoencoder"]
    assert record["shots"] == [2, "all"]


def test_labeled_and_test_patients_are_named(run, tmp_path):
    first, second, third, fourth, *_ = CASES
    named = f"--train-patients {third} {first} --test-patients {second} {fourth} --dry-run --methods scratch"
    assert run(f"{named} --shots 1 2") == 0
    record = read_json(tmp_path / "out" / "benchmark.json")
    assert record["test_patients"] == [second, fourth]
    assert {key: split["train_patients"] for key, split in record["splits"].items()} == {
        "1_0": [third],
        "2_0": [first, third],
    }
    assert record["settings"]["train_patients"] == [third, first]
    assert run(f"{named} --shots 2 --seeds 1 --methods scratch pix2rep") == 0  # methods are added
    assert run("--dry-run --methods scratch --shots 1 --test 2") == 1  # others than those who were named


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--test 2 --test-patients somebody", "--test-patients names patients: give one of them"),
        ("--test-patients somebody", "--test-patients names somebody, but the dataset has no such patient"),
        ("--train-patients somebody --test 2", "--train-patients names somebody"),
        ("--methods magic", "no method 'magic'"),
        ("--shots 30 --test 2", "--shots 30 is more than the 4 patients"),
        ("--test nowhere", "nowhere is no folder"),
        ("--iterations 0", "--iterations must be at least 1"),
        ("-p OtherPlans", "Name existing plans with -p"),
        ("-c 3d_fullres", "no configuration '3d_fullres'"),
        ("--device tpu", "device must be one of"),
        ("--surface-tolerance 0", "--surface-tolerance must be above 0"),
    ],
)
def test_bad_input_is_one_message_and_leaves_nothing(run, tmp_path, capsys, options, message):
    assert run(options) == 1
    error = capsys.readouterr().err
    assert error.startswith("nnunet_pix2rep benchmark: error: ")
    assert message in error
    assert not (tmp_path / "out").exists()


def test_a_dataset_is_needed_unless_there_is_only_a_report_to_write(tmp_path, capsys):
    assert main(["benchmark", "-o", str(tmp_path / "out")]) == 1
    assert "-d is missing" in capsys.readouterr().err


def test_cluster_options_are_numbers_or_text():
    given = ["slurm_partition=gpu", "timeout_min=60", 'slurm_additional_parameters={"qos": "high"}']
    assert _parameters(given) == {
        "slurm_partition": "gpu",
        "timeout_min": 60,
        "slurm_additional_parameters": {"qos": "high"},
    }
    with pytest.raises(UserError, match="not of the form NAME=VALUE"):
        _parameters(["gpu"])
