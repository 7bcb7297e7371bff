"""The steps of the prepared run. Each returns what it found, with a status: ``done``, ``cut`` or ``failed``."""

from __future__ import annotations

import csv
import re
import shutil
import signal
import statistics
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import SimpleITK
from limited_command import Ended, run_limited
from prepared_scale import Scale
from reduced_dataset import files_of

from nnunet_pix2rep.benchmark.report.numbers.aggregation import patient_scores
from nnunet_pix2rep.benchmark.report.reading.results import read_benchmark
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.training.sigterm import EXIT_CODE

PROJECT = Path(__file__).resolve().parents[2]
PLANS, CONFIGURATION = "Pix2RepPlans", "2d"
SMALL_PATCHES = f"{CONFIGURATION}_small_patches"
PATCH_SIZE, BATCH_SIZE = 160, 10  # at most; a step is then short, and the heart of ACDC is in a patch
PRETRAINER = "nnUNetTrainerPix2RepV2Pretrain"
METHODS = ("scratch_same_schedule", "pix2rep_v2")
SELECTOR = "one_per_patient"
LONG_TESTS = ("test_gpu_compile.py", "test_gpu_processes.py")  # come last, so that their time is not that of others
LOOKS_AT_THE_MACHINE = (("nvidia-smi",), ("df", "-h", "/dev/shm", "/tmp"))  # loaders hand batches on in /dev/shm
DONE, CUT, FAILED = "done", "cut", "failed"


@dataclass(frozen=True)
class Run:
    """What the steps work with.

    Attributes:
        dataset: Folder of the raw dataset.
        work: Folder of this machine for nnU-Net's folders and the benchmark.
        output: What is kept.
        environment: Variables of all commands.
        scale: Lengths.
        spacing: What images are resampled to, in mm; empty: as nnU-Net plans it.
    """

    dataset: Path
    work: Path
    output: Path
    environment: Mapping[str, str]
    scale: Scale
    spacing: tuple[str, ...] = ()

    @property
    def number(self) -> str:
        """nnU-Net's number of the dataset."""
        return str(int(self.dataset.name[len("Dataset") :].partition("_")[0]))

    def command(
        self, *command: str, seconds: float, variables: Mapping[str, str] = MappingProxyType({}), **how: Any
    ) -> Ended:
        """See :func:`limited_command.run_limited`; ``variables`` are set beside those of all commands."""
        environment = {**self.environment, **variables}
        return run_limited(command, self.output / "log.txt", environment, seconds, **{"grace": self.scale.grace, **how})


def status_of(ended: Ended) -> str:
    """What a command that should have ended by itself makes of its step."""
    if ended.was_stopped:
        return CUT
    return DONE if ended.exit_code == 0 else FAILED


def prepare(run: Run, seconds: float) -> dict[str, Any]:
    """Plans and preprocesses: nnU-Net's default 2d plan, and it with smaller patches. Logs what the machine has."""
    for command in LOOKS_AT_THE_MACHINE:
        run.command(*command, seconds=10)
    raw = run.work / "nnUNet_raw" / run.dataset.name
    if not raw.exists():
        shutil.copytree(run.dataset, raw)
    scale = run.scale
    lengths = {"num_epochs": scale.epochs, "num_iterations_per_epoch": scale.epoch, "num_val_iterations_per_epoch": 1}
    settings = [f"pretraining.{name}={value}" for name, value in lengths.items()]
    options = ("-d", run.number, "-c", CONFIGURATION)
    spacing = ("-overwrite_target_spacing", *run.spacing) if run.spacing else ()
    left = seconds
    for command in (
        ("nnUNetv2_plan_and_preprocess", *options, "--no_pp", "-npfp", str(scale.num_processes), *spacing),
        ("nnunet_pix2rep", "plan", *options, "-o", PLANS, "--overwrite", "--set", *settings),
        ("nnUNetv2_preprocess", *options, "-plans_name", PLANS, "-np", str(scale.num_processes)),
    ):
        ended = run.command(*command, seconds=left)
        left -= ended.seconds
        if status_of(ended) != DONE:
            return {"status": status_of(ended), "command": " ".join(command)}
    return {"status": DONE, "plans": add_small_patches(run.work / "nnUNet_preprocessed" / run.dataset.name)}


def add_small_patches(folder: Path) -> dict[str, Any]:
    """Writes the configuration of the trainings to the plans; returns what distinguishes the two."""
    plans = read_json(folder / f"{PLANS}.json")
    planned = plans["configurations"][CONFIGURATION]
    small = {
        "patch_size": [min(PATCH_SIZE, width) for width in planned["patch_size"]],
        "batch_size": min(BATCH_SIZE, planned["batch_size"]),
    }
    plans["configurations"][SMALL_PATCHES] = {"inherits_from": CONFIGURATION, **small}
    write_json(plans, folder / f"{PLANS}.json")
    names = ("patch_size", "batch_size", "spacing")
    both = {CONFIGURATION: planned, SMALL_PATCHES: planned | small}
    return {name: {key: made[key] for key in names} for name, made in both.items()}


def tests(run: Run, seconds: float) -> dict[str, Any]:
    """The tests that need a card."""
    results = run.work / "tests.xml"
    results.unlink(missing_ok=True)
    files = sorted((PROJECT / "tests" / "gpu").glob("test_*.py"), key=lambda file: (file.name in LONG_TESTS, file.name))
    ended = run.command(
        *("python", "-m", "pytest", "-v", "-m", "gpu", "-p", "no:xdist", "-p", "no:cacheprovider"),
        *(f"--junitxml={results}", *map(str, files)),
        seconds=seconds,
        stop_signal=signal.SIGINT,  # pytest then ends with its summary
    )
    if not results.is_file():
        return {"status": FAILED, "exit_code": ended.exit_code}
    suite = ElementTree.parse(results).getroot()[0]
    counts = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    cases = suite.findall("testcase")
    failed = [case.get("name") for case in cases if case.find("failure") is not None or case.find("error") is not None]
    slowest = sorted(cases, key=lambda case: -float(case.get("time", 0)))[:5]
    status = CUT if ended.was_stopped else FAILED if failed or not counts["tests"] else DONE
    return {
        "status": status,
        **counts,
        "failed": failed,
        "slowest": {case.get("name"): float(case.get("time", 0)) for case in slowest},
    }


def speed(run: Run, seconds: float) -> dict[str, Any]:
    """``nnunet_pix2rep speed``."""
    file = run.work / "speed.json"
    file.unlink(missing_ok=True)
    ended = run.command("nnunet_pix2rep", "speed", *run.scale.speed, "-o", str(file), seconds=seconds)
    return {"status": status_of(ended), "measured": read_json(file) if file.is_file() else None}


def pretraining(run: Run, seconds: float) -> dict[str, Any]:
    """Pretrains on nnU-Net's default 2d plan; SIGTERM after some epochs, then ``--c`` until the time is over."""
    (run.work / "nnUNet_results").mkdir(exist_ok=True)
    shutil.rmtree(run.work / "nnUNet_results" / run.dataset.name, ignore_errors=True)
    folder = run.work / "nnUNet_results" / run.dataset.name / f"{PRETRAINER}__{PLANS}__{CONFIGURATION}" / "fold_all"
    command = ("nnUNetv2_train", run.number, CONFIGURATION, "all", "-p", PLANS, "-tr", PRETRAINER)
    command += ("-device", run.scale.device)
    first = run.command(
        *command,
        seconds=seconds * 0.7,  # it compiles the network, which took more than 50 s on an H100
        stop_when=lambda: len(epoch_seconds(folder)) >= run.scale.epochs_before_the_stop,
        grace=seconds / 5,  # a step that compiles the network ends no sooner
    )
    before = epoch_seconds(folder)
    has_saved = (folder / "checkpoint_latest.pth").is_file()
    second = run.command(*command, "--c", seconds=seconds - first.seconds - run.scale.grace)
    after = epoch_seconds(folder)[len(before) :]
    goes_on = first_epochs(folder)[1:] == [len(before)]
    went_well = first.exit_code == EXIT_CODE and has_saved and goes_on and after and second.exit_code in (0, EXIT_CODE)
    warm = [*before[1:], *after[1:]]  # the first epoch of a process compiles
    return {
        "status": DONE if went_well else FAILED,
        "exit_codes": [first.exit_code, second.exit_code],
        "saved_on_sigterm": has_saved,
        "went_on_in_the_epoch_that_was_cut": goes_on,
        "epochs": [len(before), len(after)],
        "steps_per_epoch": run.scale.epoch,
        "epoch_seconds": [before, after],
        "steps_per_second": round(run.scale.epoch / statistics.median(warm), 3) if warm else None,
    }


def logs_of(folder: Path) -> list[str]:
    """What the processes of a training wrote, in their order."""
    return [file.read_text(encoding="utf-8") for file in sorted(folder.glob("training_log_*.txt"))]


def epoch_seconds(folder: Path) -> list[float]:
    """Seconds of all epochs that ended, of one validation step each too."""
    return [float(found) for log in logs_of(folder) for found in re.findall(r"Epoch time: ([\d.]+) s", log)]


def first_epochs(folder: Path) -> list[int]:
    """The epoch with which each process of a training began."""
    found = (re.search(r": Epoch (\d+)\s*$", log, re.MULTILINE) for log in logs_of(folder))
    return [int(epoch[1]) for epoch in found if epoch]


def trainings(run: Run, seconds: float) -> dict[str, Any]:
    """Several trainings at a time, of suggested slices, with and without pretraining."""
    folder = run.work / "trainings"
    budget = slices_of_a_patient(run.dataset)
    scale = run.scale
    ended = run.command(
        *("nnunet_pix2rep", "benchmark", "-d", run.number, "-c", SMALL_PATCHES, "-p", PLANS, "-o", str(folder)),
        *("--methods", *METHODS, "--budget", str(budget), "--select", SELECTOR, "--seeds", str(scale.draws)),
        *("--test", str(scale.test_patients), "--iterations", str(scale.finetuning)),
        *("--pretraining-iterations", str(scale.pretraining), "--in-process", "--no-images", *scale.places),
        seconds=seconds,
        # compiling takes as long as a good part of these trainings
        variables={"nnUNet_compile": "f", "nnUNet_n_proc_DA": str(scale.loading_processes)},
    )
    found = {"status": status_of(ended), "budget": budget, "iterations": scale.finetuning}
    found |= {"pretraining_iterations": scale.pretraining, "at_a_time": scale.places.count("0") or 1}
    if not (folder / "results.csv").is_file():
        return found
    shutil.copyfile(folder / "results.csv", run.output / "trainings.csv")
    return found | {"arms": scores_of(folder), "runs": runs_of(folder)}


def slices_of_a_patient(dataset: Path) -> int:
    """Slices of all scans of the median patient."""
    reader = SimpleITK.ImageFileReader()
    numbers = []
    for files in files_of(dataset).values():
        slices = 0
        for label in files:
            if label.parent.name == "labelsTr":
                reader.SetFileName(str(dataset / label))
                reader.ReadImageInformation()
                slices += reader.GetSize()[2]
        numbers.append(slices)
    return int(statistics.median(numbers))


def scores_of(folder: Path) -> list[dict[str, Any]]:
    """Mean Dice over patients of each method and selector, and over how many draws."""
    return [
        {"arm": arm, "slices": budget, "dice": round(scores.mean, 4), "draws": len(scores.draws)}
        for (arm, budget), scores in patient_scores(read_benchmark(folder)).items()
    ]


def runs_of(folder: Path) -> list[dict[str, Any]]:
    """Status and seconds of every training."""
    with (folder / "runs.csv").open(encoding="utf-8", newline="") as file:
        return [
            {name: value for name, value in row.items() if name not in ("run_folder", "shots")}
            for row in csv.DictReader(file)
        ]


STEPS = {step.__name__: step for step in (prepare, tests, speed, pretraining, trainings)}
NEED_DATA = (pretraining.__name__, trainings.__name__)  # what prepare makes
