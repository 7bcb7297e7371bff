import argparse
import json
import os
import subprocess
import sys

import pytest

from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.cli.measure import speed
from nnunet_pix2rep.nnunet.subprocesses import same_package

TINY = ("pretraining.sampling.num_points=64", "pretraining.head.channels=8", "pretraining.head.hidden_channels=8")


@pytest.mark.slow
def test_the_command_writes_its_ratios_and_needs_no_variables(tmp_path, monkeypatch):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("nnUNet_n_proc_DA", "1")
    file = tmp_path / "speed.json"
    options = ["--repetitions", "1", "--batches", "1", "--only", "step_overhead", "loader", "--set", *TINY]
    command = [sys.executable, "-m", "nnunet_pix2rep.cli.main", "speed", "--synthetic", "-o", str(file), *options]
    printed = subprocess.run(
        command, env={**os.environ, **same_package()}, check=True, capture_output=True, encoding="utf-8"
    ).stdout
    results = json.loads(file.read_text(encoding="utf-8"))
    assert results["step_overhead"][0]["views"] == [16, 1, 128, 128]
    assert results["loader"]["workers"] == 1
    assert f"{results['loader']['ratio']:.3f}" in printed
    assert all(f"{item['ratio']:.3f}" in printed for item in results["step_overhead"])


def test_an_existing_file_is_kept(tmp_path, capsys):
    file = tmp_path / "speed.json"
    file.write_text("mine")
    assert main(["speed", "--synthetic", "-o", str(file)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert file.read_text() == "mine"


def test_a_folder_is_refused_before_anything_is_measured(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("nnunet_pix2rep.speed.run.run_speed", lambda *_arguments, **_options: pytest.fail("measured"))
    assert main(["speed", "--synthetic", "-o", str(tmp_path), "--overwrite"]) == 1
    assert f"Name a file, such as {tmp_path / 'speed.json'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    "options", [[], ["-d", "1", "--synthetic"], ["--synthetic", "--repetitions", "0"], ["--synthetic", "--only", "all"]]
)
def test_options_that_make_no_sense_are_refused(options):
    parser = argparse.ArgumentParser()
    speed.add_arguments(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(options)
