import os
import shlex
import signal

import numpy as np
import pytest
from demo_folders import SHAPE, write_volume, write_work_folder
from PIL import Image

from nnunet_pix2rep.annotation.work_folder import read_suggestion
from nnunet_pix2rep.cli.main import build_parser, main
from nnunet_pix2rep.demo import run
from nnunet_pix2rep.demo.commands import demo_methods, demo_stages
from nnunet_pix2rep.demo.only_demo import only_demo
from nnunet_pix2rep.demo.run import run_demo
from nnunet_pix2rep.demo.settings import DemoFolders, DemoSettings
from nnunet_pix2rep.demo.stages import StageFolder
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json

TINY = DemoSettings(
    num_patients=4,
    num_test=1,
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


def commands_of(settings, output):
    """Name of the stage -> its commands, after a patient with three slices was chosen."""
    folders = DemoFolders(output, settings.dataset)
    write_work_folder(folders.work(folders.one_patient), [("p", "p_ED", index) for index in range(3)])
    return {
        stage.name: stage.commands() if callable(stage.commands) else stage.commands
        for stage in demo_stages(folders, settings)
    }


def test_the_trainings_on_one_patient_differ_in_nothing_but_the_weights(tmp_path):
    commands = commands_of(DemoSettings(), tmp_path)
    (scratch, _), (pix2rep, _) = commands["scratch"], commands["pix2rep"]
    assert "-pretrained_weights" in pix2rep
    without_weights = pix2rep[: pix2rep.index("-pretrained_weights")]
    assert [f"{word}Scratch" if word.endswith("Finetune") else word for word in without_weights] == list(scratch)


def test_the_trainings_with_pix2rep_differ_in_nothing_but_the_labels(tmp_path):
    commands = commands_of(DemoSettings(), tmp_path)
    assert commands["pix2rep"][0] == commands["suggested"][0]
    _, pix2rep, suggested = demo_methods(DemoFolders(tmp_path, DemoSettings().dataset))
    assert pix2rep.root != suggested.root


def test_as_many_slices_are_suggested_as_the_patient_has(tmp_path):
    (suggest,) = commands_of(DemoSettings(), tmp_path)["suggest"]
    assert suggest[suggest.index("--slices") + 1] == "3"


def test_the_seed_reaches_all_that_is_drawn(tmp_path):
    commands = commands_of(DemoSettings(seed=5), tmp_path)
    drawing = (*commands["data"], commands["one_patient"][1], *commands["suggest"])
    assert [command[command.index("--seed") + 1] for command in drawing] == ["5"] * 4
    assert "pretraining.seed=5" in commands["plan"][1]


def test_commands_of_this_package_are_understood(tmp_path):
    for commands in commands_of(DemoSettings(), tmp_path).values():
        for program, *arguments in commands:
            if program == "nnunet_pix2rep":
                build_parser().parse_args(arguments)


def test_sunnybrook_is_converted_and_keeps_ten_patients_for_the_test(tmp_path):
    conversion, hide = commands_of(DemoSettings(data=tmp_path), tmp_path)["data"]
    assert "nnunet_pix2rep.dataset_conversion.Dataset501_Sunnybrook" in conversion
    assert hide[hide.index("--test") + 1] == "10"


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


def test_a_dataset_that_was_made_but_not_recorded_is_made_again(tmp_path):
    folders = DemoFolders(tmp_path, TINY.dataset)
    write_volume(folders.scans / "p_ED.nii.gz", np.arange(np.prod(SHAPE), dtype=np.float32).reshape(SHAPE))
    (stage,) = (stage for stage in demo_stages(folders, TINY) if stage.name == "dataset")
    for _ in range(2):
        StageFolder(tmp_path, {}).run([stage])
        assert [file.name for file in (stage.output / "imagesUn").iterdir()] == ["p_ED_0000.nii.gz"]
        (tmp_path / "stages.json").unlink()


@pytest.mark.skipif(os.name == "nt", reason="locks are POSIX")
def test_a_second_demo_in_the_same_folder_is_refused(tmp_path, capsys):
    with only_demo(tmp_path / "demo"):
        assert main(["demo", "--output", str(tmp_path / "demo")]) == 1
    assert "Another demo is working in" in capsys.readouterr().err


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_a_signal_ends_the_demo_in_order(name, monkeypatch):
    number = signal.Signals[name]
    monkeypatch.setattr(run, "run_demo", lambda *_: signal.raise_signal(number))
    before = signal.getsignal(number)
    with pytest.raises(SystemExit) as end:
        main(["demo"])
    assert end.value.code == 128 + number
    assert signal.getsignal(number) == before


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_a_demo_under_nohup_outlives_its_terminal(monkeypatch):
    monkeypatch.setattr(run, "run_demo", lambda *_: signal.raise_signal(signal.SIGHUP))
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        assert main(["demo"]) == 0
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.slow
def test_the_whole_demo_on_a_tiny_scale(tmp_path, capsys):
    output = tmp_path / "demo"
    folders = DemoFolders(output, TINY.dataset)
    summary = run_demo(output, TINY)
    assert read_json(output / "summary.json") == summary
    patient, suggested = (read_suggestion(folders.work(root)) for root in (folders.one_patient, output))
    assert len({entry.patient for entry in patient.slices}) == 1
    assert len({entry.patient for entry in suggested.slices}) == 3
    assert len(patient.slices) == len(suggested.slices) == summary["num_slices"]
    seen = {entry.patient for entry in (*patient.slices, *suggested.slices)}
    assert not seen & set(summary["test_patients"])
    assert {len(method["cases"]) for method in summary["methods"].values()} == {2}
    with Image.open(output / "demo.png") as figure:
        assert min(figure.size) > 300
    assert f"With {summary['num_slices']} annotated slices" in capsys.readouterr().out

    assert run_demo(output, TINY) == summary
    assert capsys.readouterr().out.count("done before") == len(summary["commands"])
    with pytest.raises(UserError, match=f"seed was {TINY.seed} and is now 1"):
        run_demo(output, DemoSettings(seed=1, num_patients=4, num_test=1))
