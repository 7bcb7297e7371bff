import shlex

import numpy as np
import pytest
from PIL import Image

from nnunet_pix2rep.cli.main import build_parser, main
from nnunet_pix2rep.demo.run import DemoSettings, demo_stages, result_folders, run_demo
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json

TINY = DemoSettings(
    num_patients=4,
    num_validation=1,
    plan_settings=(
        "pretraining.num_epochs=1",
        "pretraining.num_iterations_per_epoch=2",
        "pretraining.num_val_iterations_per_epoch=1",
        "pretraining.sampling.num_points=64",
        "finetuning.num_epochs=1",
        "finetuning.num_iterations_per_epoch=2",
        "finetuning.num_val_iterations_per_epoch=1",
    ),
)


def commands_of(settings, tmp_path):
    return {stage.name: stage.commands for stage in demo_stages(tmp_path, settings)}


def test_both_trainings_differ_in_nothing_but_the_weights(tmp_path):
    commands = commands_of(DemoSettings(), tmp_path)
    (scratch,), (pix2rep,) = commands["scratch"], commands["pix2rep"]
    assert "-pretrained_weights" in pix2rep
    without_weights = pix2rep[: pix2rep.index("-pretrained_weights")]
    assert [word.replace("Pix2RepPlans", "ScratchPlans") for word in without_weights] == list(scratch)
    # The scratch plans are a copy of the others: no settings of their own.
    assert "--set" not in commands["pix2rep_plans"][1]


def test_results_of_the_two_trainings_lie_apart(tmp_path):
    assert len(set(result_folders(tmp_path, DemoSettings()).values())) == 3


def test_the_seed_reaches_phantom_split_and_pretraining(tmp_path):
    commands = commands_of(DemoSettings(seed=5), tmp_path)
    for stage in ("data", "split"):
        (command,) = commands[stage]
        assert command[command.index("--seed") + 1] == "5"
    assert "pretraining.seed=5" in commands["pix2rep_plans"][0]


def test_commands_of_this_package_are_understood(tmp_path):
    for commands in commands_of(DemoSettings(), tmp_path).values():
        for program, *arguments in commands:
            if program == "nnunet_pix2rep":
                build_parser().parse_args(arguments)


def test_sunnybrook_is_converted_and_keeps_ten_patients_for_validation(tmp_path):
    commands = commands_of(DemoSettings(data=tmp_path), tmp_path)
    assert "nnunet_pix2rep.dataset_conversion.Dataset501_Sunnybrook" in commands["data"][0]
    assert "501" in commands["scratch"][0]
    split = commands["split"][0]
    assert split[split.index("--validation") + 1] == "10"


def test_a_missing_data_folder_is_named_and_nothing_is_written(tmp_path, capsys):
    command = f"demo --output {tmp_path / 'demo'} --data {tmp_path / 'missing'}"
    assert main(shlex.split(command)) == 1
    assert "missing is not a folder" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("seed", ["-1", "x", str(2**32)])
def test_a_bad_seed_ends_with_usage(seed, capsys):
    with pytest.raises(SystemExit):
        main(["demo", "--seed", seed])
    assert "--seed" in capsys.readouterr().err


def test_a_failing_stage_ends_the_demo_with_its_log(tmp_path, capsys):
    empty = tmp_path / "empty"
    empty.mkdir()
    assert main(["demo", "--output", str(tmp_path / "demo"), "--data", str(empty)]) == 1
    message = capsys.readouterr().err
    assert "exit code 1" in message
    assert "Dataset501_Sunnybrook" in message
    assert "holds neither" in message


@pytest.mark.slow
def test_the_whole_demo_on_a_tiny_scale(tmp_path, capsys):
    summary = run_demo(tmp_path / "demo", TINY)
    assert read_json(tmp_path / "demo" / "summary.json") == summary
    for name in ("scratch", "pix2rep"):
        assert len(summary[name]["cases"]) == 2
        assert summary[name]["mean_dice"] == pytest.approx(np.mean(list(summary[name]["cases"].values())))
    assert summary["labelled_patient"] not in summary["validation_patients"]
    assert summary["seconds"] > 0
    assert len(summary["commands"]) == len(demo_stages(tmp_path, TINY))
    with Image.open(tmp_path / "demo" / "demo.png") as figure:
        assert min(figure.size) > 300
    pretraining = result_folders(tmp_path / "demo", TINY)["pretraining"] / "pretraining_summary.json"
    assert not {case[:10] for case in read_json(pretraining)["cases"]} & set(summary["validation_patients"])
    assert "difference" in capsys.readouterr().out

    assert run_demo(tmp_path / "demo", TINY) == summary
    assert capsys.readouterr().out.count("done before") == len(summary["commands"])
    with pytest.raises(UserError, match="seed was 0 and is now 1"):
        run_demo(tmp_path / "demo", DemoSettings(seed=1, num_patients=4, num_validation=1))
