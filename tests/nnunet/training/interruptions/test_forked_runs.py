import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_training import DATASET, PLANS

from nnunet_pix2rep.files import read_json, write_json

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(400),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="forks and sends signals"),
]
PROGRAM = Path(__file__).with_name("forked_runs.py")
NUM_EPOCHS = 24
KILLED_EPOCHS = 80
PRETRAINING, FINETUNING = "nnUNetTrainerPix2RepPretrain", "nnUNetTrainerPix2RepFinetuneScratch"


@pytest.fixture
def run(tiny_dataset, tmp_path):
    """Runs a scenario of forked_runs.py on a dataset with longer trainings; returns what came of it."""

    def run(scenario, num_epochs=NUM_EPOCHS):
        folder = tmp_path / "nnUNet_preprocessed" / DATASET
        shutil.copytree(tiny_dataset, folder)
        plans = read_json(folder / f"{PLANS}.json")
        for settings in plans["configurations"]["2d"]["pix2rep"].values():
            settings["num_epochs"] = num_epochs
        write_json(plans, folder / f"{PLANS}.json")
        environment = os.environ | {"OMP_NUM_THREADS": "1", "nnUNet_def_n_proc": "1", "MPLBACKEND": "agg"}
        command = [sys.executable, str(PROGRAM), scenario, str(tmp_path)]
        output = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
        assert "RESULT" in output.stdout, output.stdout[-3000:] + output.stderr[-3000:]
        return json.loads(output.stdout.split("RESULT", 1)[1])

    return run


@pytest.mark.parametrize("trainer", [PRETRAINING, FINETUNING])
def test_a_training_survives_ten_kills_as_if_none_had_been(run, trainer):
    # The ten kills are at most 30 epochs apart in all; on a busy machine the training runs on before a kill arrives.
    result = run(f"kill:{trainer}", KILLED_EPOCHS)
    assert [attempt["end"] for attempt in result["runs"]] == ["signal 9"] * 10
    for attempt in result["runs"]:
        begun = attempt["begun"]
        assert begun == list(range(attempt["from"], attempt["from"] + len(begun)))
        # an epoch begins when the one before is saved
        last = begun[-1] if begun else attempt["from"]
        assert attempt["saved"] in (last, last + 1)
        assert attempt["lengths"] == [attempt["saved"]]
    assert any(attempt["saved"] > attempt["from"] for attempt in result["runs"])
    assert result["ends"] == [0, 0]
    assert result["files"] == ["checkpoint_best.pth", "checkpoint_final.pth"]
    assert result["different_weights"] == []
    assert result["same_losses"]
    assert result["num_logged"] == [KILLED_EPOCHS]
    assert result["times"] == sorted(result["times"])


def test_two_processes_started_together_pretrain_once(run):
    result = run("together")
    assert result["ends"] == [0, 0]
    assert len(result["pretrainings"]) == len(result["starts"]) == 1
    assert result["num_waiting"] == 1


def test_a_killed_process_does_not_hold_the_lock(run):
    result = run("killed_holder")
    assert result["begun"]
    assert result["end"] == 0
    assert "waiting for it" not in result["log"]
    assert "Going on from" in result["log"]


def test_sigterm_ends_the_wait_for_another_process(run):
    assert run("terminated_waiter", num_epochs=2000) == {"waits": True, "end": 143}


def test_trainings_with_workers_end_and_leave_none_behind(run):
    result = run("workers", num_epochs=2000)
    for name in (f"{trainer} {send}" for trainer in (PRETRAINING, FINETUNING) for send in ("killpg", "kill")):
        assert result[name] == {"end": 143, "saved": True, "left": 0}, name
    assert result["nan"] == {"end": 7, "left": 0}
