"""All that a GPU can tell in nine minutes: ``python prepared_run.py DATASET OUTPUT``; docs/benchmarks/gpu says how.

Each step writes its result as soon as it has one, and a second call goes on with the steps that were not done.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from prepared_card import CardWatch, name_of
from prepared_scale import ON_A_CARD, REHEARSAL, SECONDS_LEAST, Scale
from prepared_steps import DONE, NEED_DATA, STEPS, Run
from prepared_summary import summary_of

from nnunet_pix2rep.benchmark.execution.machine import versions
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.subprocesses import nnunet_environment

FOR_A_PROCESSOR = ("nnUNet_n_proc_DA", "nnUNet_def_n_proc", "nnUNet_compile", "PYTHON_CPU_COUNT", "OMP_WAIT_POLICY")


def environment_of(work: Path, device: str) -> dict[str, str]:
    """Variables of all commands; on a card, those of nnU-Net are its defaults."""
    variables = nnunet_environment(work)
    if device != "cpu":
        variables = {name: value for name, value in variables.items() if name not in FOR_A_PROCESSOR}
    # Console scripts lie beside the interpreter or in PATH already; the package is the installed one, not the checkout.
    path = f"{Path(sys.executable).parent}{os.pathsep}{variables.get('PATH', '')}"
    return variables | {"PATH": path, "PYTHONSAFEPATH": "1"}


def result_file(run: Run, step: str) -> Path:
    """Where a step's result is kept; what is prepared stays with this machine."""
    return (run.work if step == "prepare" else run.output) / f"{step}.json"


def do_steps(run: Run, wanted: list[str], began: float) -> bool:
    """Does the steps that are left; returns whether all wanted ones are done.

    Args:
        run: What to work with.
        wanted: Names of steps.
        began: When the time of the run began, by ``time.time``.
    """
    for name in wanted:
        file = result_file(run, name)
        if is_done(run, name):
            print(f"{name}: done before", flush=True)
            continue
        if name in NEED_DATA and not is_done(run, "prepare"):
            print(f"{name}: not without what prepare makes", flush=True)
            continue
        left = run.scale.total - (time.time() - began)
        seconds = min(run.scale.seconds[name], left - run.scale.grace)
        if seconds < SECONDS_LEAST:
            print(f"{name}: no time left", flush=True)
            break
        begun = time.perf_counter()
        with CardWatch() as watch:
            result = STEPS[name](run, seconds)
        result |= watch.found() | {"seconds": round(time.perf_counter() - begun, 1), "card": name_of(run.scale.device)}
        write_json(result, file)
        write_summary(run)
        print(f"{name}: {result['status']} after {result['seconds']} s", flush=True)
    return all(is_done(run, name) for name in wanted)


def is_done(run: Run, step: str) -> bool:
    """Whether a step went well, now or in an earlier call."""
    file = result_file(run, step)
    return file.is_file() and read_json(file)["status"] == DONE


def write_summary(run: Run) -> None:
    """Writes ``summary.md``."""
    files = {name: result_file(run, name) for name in STEPS}
    found = {name: read_json(file) for name, file in files.items() if file.is_file()}
    text = summary_of(name_of(run.scale.device), versions(), found)
    (run.output / "summary.md").write_text(text, encoding="utf-8")


def parse(arguments: list[str] | None) -> tuple[Run, list[str], float]:
    """Reads the arguments; returns what to work with, the steps, and when the time of the run began."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", type=Path, help="Folder of a raw dataset, such as .gpu/Dataset027_ACDC.")
    parser.add_argument("output", type=Path, help="Gets the results; those of an earlier call are gone on with.")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path(tempfile.gettempdir()) / "prepared_run",
        help="Data and trainings of this machine. Default: %(default)s.",
    )
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), metavar="STEP", help=", ".join(STEPS))
    parser.add_argument("--rehearsal", action="store_true", help="On the processor, far shorter.")
    parser.add_argument("--spacing", nargs=3, default=(), metavar="MM", help="Resample to this, for a rehearsal.")
    parser.add_argument("--draws", type=int, help="Fewer draws of annotated slices.")
    parser.add_argument(
        "--began", type=float, default=time.time(), metavar="SECONDS", help="By date +%%s; by default now."
    )
    given = parser.parse_args(arguments)
    scale: Scale = REHEARSAL if given.rehearsal else ON_A_CARD
    if scale.device == "cuda" and not torch.cuda.is_available():
        parser.error("torch finds no CUDA device; --rehearsal runs on the processor")
    if given.draws is not None:
        scale = replace(scale, draws=given.draws)
    for folder in (given.work, given.output):
        folder.mkdir(parents=True, exist_ok=True)
    environment = environment_of(given.work.resolve(), scale.device)
    run = Run(
        given.dataset.resolve(), given.work.resolve(), given.output.resolve(), environment, scale, tuple(given.spacing)
    )
    return run, given.only, given.began


def main(arguments: list[str] | None = None) -> int:
    """Does the run; returns 1 where a step was not done."""
    run, wanted, began = parse(arguments)
    print(f"{name_of(run.scale.device)}, {run.scale.total - time.time() + began:.0f} s are left", flush=True)
    return 0 if do_steps(run, wanted, began) else 1


if __name__ == "__main__":
    sys.exit(main())
