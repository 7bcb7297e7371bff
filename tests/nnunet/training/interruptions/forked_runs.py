"""Trainings in forked processes that are killed, told to end, or started together.

Run as a program, so that torch and nnU-Net are imported once and no thread of theirs runs before the forks:
``python forked_runs.py SCENARIO ROOT``, with a tiny dataset in ROOT; prints what came of it as JSON.
"""

from __future__ import annotations

import contextlib
import json
import multiprocessing.util
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3] / "helpers"))

import pytest
import torch
from nnunetv2.paths import nnUNet_results
from nnunetv2.run.run_training import run_training
from tiny_training import DATASET, PLANS, prepare_for_training

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import Pix2RepPretrainTrainer

NUM_KILLS = 10
SECONDS = 200  # after which something hangs, also on a busy machine
USER_ERROR_CODE = 7
PRETRAINING, FINETUNING = "nnUNetTrainerPix2RepPretrain", "nnUNetTrainerPix2RepFinetuneScratch"


def start(log: Path, trainer: str, fold: int = 0, **options: Any) -> int:
    """Forks a process, in a group of its own, that trains; returns its id. It ends as an interpreter would."""
    child = os.fork()
    if child != 0:
        return child
    os.setsid()
    sys.stdout = sys.stderr = log.open("a", buffering=1)
    code = 1
    try:
        run_training(DATASET, "2d", str(fold), trainer, PLANS, device=torch.device("cpu"), **options)
        code = 0
    except SystemExit as end:
        code = end.code
    except UserError as error:
        print(error)
        code = USER_ERROR_CODE
    finally:
        multiprocessing.util._exit_function()  # where an interpreter joins its worker processes
        os._exit(code)


def wait(process: int) -> int | str:
    """The exit code, or ``signal N``, or ``hangs``."""
    for _ in range(SECONDS * 50):
        ended, status = os.waitpid(process, os.WNOHANG)
        if ended:
            return f"signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        time.sleep(0.02)
    os.killpg(process, signal.SIGKILL)
    os.waitpid(process, 0)
    return "hangs"


def wait_for(process: int, condition: Callable[[], bool]) -> bool:
    """Waits until something is so or the process ends."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        if condition():
            return True
        if os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
            return condition()
        time.sleep(0.002)
    return False


def text_of(log: Path) -> str:
    """The text of a log, which may not be there yet."""
    return log.read_text() if log.exists() else ""


def epochs_begun(log: Path) -> list[int]:
    """Numbers in the lines ``Epoch N`` of a log."""
    return [int(n) for n in re.findall(r"Epoch (\d+)\s*$", text_of(log), re.MULTILINE)]


def output_folder(trainer: str, fold: int = 0) -> Path:
    """Where nnU-Net puts the result of a fold."""
    return Path(nnUNet_results) / DATASET / f"{trainer}__{PLANS}__2d" / f"fold_{fold}"


def num_left(group: int) -> int:
    """Whether processes of a group live on."""
    for _ in range(SECONDS * 20):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return 0
        time.sleep(0.05)
    os.killpg(group, signal.SIGKILL)
    return 1


def kill_once(log: Path, trainer: str, resumed_at: int, generator: random.Random) -> dict[str, Any]:
    """A training that is killed at a random moment, and what it had begun and saved by then."""
    process = start(log, trainer, continue_training=True)
    target = resumed_at + generator.choice([-1, 0, 1, 2])  # -1: somewhere before the first step
    if target >= resumed_at:
        wait_for(process, lambda: target in epochs_begun(log))
    time.sleep(generator.uniform(0, 0.15))
    os.kill(process, signal.SIGKILL)
    end = wait(process)
    latest = output_folder(trainer) / "checkpoint_latest.pth"
    checkpoint = load_checkpoint_file(latest) if latest.is_file() else {"current_epoch": 0, "logging": {"": []}}
    return {
        "end": end,
        "from": resumed_at,
        "begun": epochs_begun(log),
        "saved": checkpoint["current_epoch"],
        "lengths": sorted({len(series) for series in checkpoint["logging"].values()}),
    }


def kill(root: Path, trainer: str) -> dict[str, Any]:
    """SIGKILL at random moments, resumed every time; then the same training without."""
    generator = random.Random(f"kill {trainer}")
    runs: list[dict[str, Any]] = []
    for number in range(NUM_KILLS):
        resumed_at = runs[-1]["saved"] if runs else 0
        runs.append(kill_once(root / f"{trainer}_{number}.log", trainer, resumed_at, generator))
    end = wait(start(root / f"{trainer}_last.log", trainer, continue_training=True))
    folder = output_folder(trainer)
    killed = load_checkpoint_file(folder / "checkpoint_final.pth")
    files = sorted(file.name for file in folder.iterdir() if "checkpoint" in file.name)
    os.environ.update(nnUNet_results=str(root / "undisturbed"))
    undisturbed_end = wait(start(root / f"{trainer}_undisturbed.log", trainer))
    undisturbed = load_checkpoint_file(output_folder(trainer) / "checkpoint_final.pth")
    own = killed["network_weights"]
    return {
        "runs": runs,
        "ends": [end, undisturbed_end],
        "files": files,
        "different_weights": [k for k, v in undisturbed["network_weights"].items() if not torch.equal(v, own[k])],
        "same_losses": killed["logging"]["train_losses"] == undisturbed["logging"]["train_losses"],
        "num_logged": sorted({len(series) for series in killed["logging"].values()}),
        "times": killed["logging"]["epoch_end_timestamps"],
    }


def together(root: Path) -> dict[str, Any]:
    """Both stages in two folds with the same validation patients, started together."""
    name = "nnUNetTrainerPix2Rep"
    logs = [root / f"together_{fold}.log" for fold in (0, 1)]
    processes = [start(log, name, fold) for fold, log in enumerate(logs)]
    ends = [wait(process) for process in processes]
    finals = [load_checkpoint_file(output_folder(name, fold) / "checkpoint_final.pth") for fold in (0, 1)]
    return {
        "ends": ends,
        "pretrainings": [fold for fold in (0, 1) if output_folder(PRETRAINING, fold).exists()],
        "starts": sorted({final[RECORD_KEY]["pretrained"]["file"] for final in finals}),
        "num_waiting": sum("waiting for it" in log.read_text() for log in logs),
    }


def killed_holder(root: Path) -> dict[str, Any]:
    """The process that pretrains is killed and leaves its workers behind; another one must not wait for them."""
    os.environ.update(nnUNet_n_proc_DA="1")
    name = "nnUNetTrainerPix2Rep"
    logs = [root / f"holder_{number}.log" for number in range(2)]
    holder = start(logs[0], name)
    begun = wait_for(holder, lambda: 2 in epochs_begun(logs[0]))
    os.kill(holder, signal.SIGKILL)
    wait(holder)
    os.environ.update(nnUNet_n_proc_DA="0")
    end = wait(start(logs[1], name, continue_training=True))
    with contextlib.suppress(ProcessLookupError):
        os.killpg(holder, signal.SIGKILL)
    return {"begun": begun, "end": end, "log": logs[1].read_text()}


def terminated_waiter(root: Path) -> dict[str, Any]:
    """SIGTERM to a process that waits for another one's pretraining."""
    name = "nnUNetTrainerPix2Rep"
    logs = [root / f"waiter_{fold}.log" for fold in (0, 1)]
    holder = start(logs[0], name)
    wait_for(holder, lambda: 0 in epochs_begun(logs[0]))
    os.kill(holder, signal.SIGSTOP)
    waiter = start(logs[1], name, 1)
    waits = wait_for(waiter, lambda: "waiting for it" in text_of(logs[1]))
    os.kill(waiter, signal.SIGTERM)
    end = wait(waiter)
    os.kill(holder, signal.SIGKILL)
    wait(holder)
    return {"waits": waits, "end": end}


def workers(root: Path) -> dict[str, Any]:
    """How trainings with worker processes end: SIGTERM to the whole group, to the main process, and a bad loss."""
    os.environ.update(nnUNet_n_proc_DA="1")
    result = {}
    for trainer in (PRETRAINING, FINETUNING):
        for send in (os.killpg, os.kill):
            log = root / f"{trainer}_{send.__name__}.log"
            process = start(log, trainer)
            wait_for(process, lambda log=log: 1 in epochs_begun(log))
            send(process, signal.SIGTERM)
            end = wait(process)
            saved = load_checkpoint_file(output_folder(trainer) / "checkpoint_latest.pth")["current_epoch"]
            result[f"{trainer} {send.__name__}"] = {"end": end, "saved": saved >= 1, "left": num_left(process)}
    Pix2RepPretrainTrainer._build_loss = lambda _: lambda z_1, z_2: (z_1 - z_2).sum() * float("nan")
    process = start(root / "nan.log", PRETRAINING)
    result["nan"] = {"end": wait(process), "left": num_left(process)}
    return result


def main() -> None:
    """Runs one scenario."""
    scenario, root = sys.argv[1], Path(sys.argv[2])
    torch.set_num_threads(1)
    patch = pytest.MonkeyPatch()
    prepare_for_training(patch, root / "nnUNet_preprocessed" / DATASET, root)
    Pix2RepFinetuneTrainer.perform_actual_validation = lambda _trainer, _save_probabilities=False: None
    name, _, trainer = scenario.partition(":")
    scenarios = {f.__name__: f for f in (kill, together, killed_holder, terminated_waiter, workers)}
    print("RESULT", json.dumps(scenarios[name](root, *([trainer] if trainer else []))))


if __name__ == "__main__":
    main()
