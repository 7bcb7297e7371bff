"""Environment of the commands, and the record of what they ran on."""

from __future__ import annotations

import functools
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import joblib
import torch

from nnunet_pix2rep.benchmark.design.runs import Run
from nnunet_pix2rep.devices import check_device_name, choose_device
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.installation import trainers_folder
from nnunet_pix2rep.nnunet.checkpoints.files import package_versions

NNUNET_DEFAULT_PROCESSES = 8  # nnunetv2 2.8.1, configuration.py
RECORDED_VARIABLES = ("nnUNet_", "OMP_", "CUDA_VISIBLE_DEVICES", "PYTHON_CPU_COUNT")


@dataclass(frozen=True)
class Slot:
    """A place for one run at a time.

    Attributes:
        device: ``-device`` of nnU-Net's commands.
        visible_device: ``CUDA_VISIBLE_DEVICES``; None: as it is.
        num_jobs: How many slots share the processor.
        cores: Cores of the processor that the runs are bound to; None: all.
        in_process: Whether one process does all of the slot's commands.
    """

    device: str
    visible_device: str | None = None
    num_jobs: int = 1
    cores: tuple[int, ...] | None = None
    in_process: bool = False

    @property
    def num_cores(self) -> int:
        """How many cores a run has for itself."""
        return len(self.cores) if self.cores is not None else max(1, joblib.cpu_count() // self.num_jobs)

    def bind_thread(self) -> None:
        """Binds the calling thread, and the commands that it starts, to the cores of the slot."""
        if self.cores is not None:
            os.sched_setaffinity(0, self.cores)  # 0 is the calling thread


def slot_elsewhere(device: str | None) -> Slot:
    """A slot on another machine, such as a node of a cluster, which has GPUs unless ``device`` says otherwise.

    Raises:
        UserError: no such device.
    """
    device = device or "cuda"
    check_device_name(device)
    return Slot(device)


def make_slots(device: str | None, jobs: int | None, devices: list[str] | None, in_process: bool = False) -> list[Slot]:
    """The slots of this machine.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``; None: a GPU where there is one.
        jobs: How many runs at a time; None: one for each of ``devices``, or one.
        devices: Values for ``CUDA_VISIBLE_DEVICES``, given out in turn; the same one twice puts two runs on it.
        in_process: See :class:`Slot`.

    Raises:
        UserError: no such device, or fewer GPUs than jobs; ``in_process`` on Windows.
    """
    device = choose_device(device).type
    if devices is not None and device != "cuda":
        raise UserError(f"--devices names GPUs, but the benchmark runs on {device}.")
    jobs = jobs if jobs is not None else len(devices or [None])
    if jobs < 1:
        raise UserError(f"--jobs must be at least 1, but is {jobs}.")
    if device == "cuda" and jobs > 1:
        devices = devices or [str(number) for number in range(torch.cuda.device_count())]
        if jobs > len(devices):
            raise UserError(
                f"--jobs {jobs} is more than the {len(devices)} GPU(s) {', '.join(devices)}. To let runs share a GPU, "
                f"name it for each of them, as in --devices {' '.join([devices[0]] * 2)}."
            )
    if in_process and os.name == "nt":
        raise UserError("--in-process does not run on Windows, where open files cannot be handed on. Leave it out.")
    shares = _share_cores(jobs) if device == "cpu" and jobs > 1 else [None] * jobs
    return [
        Slot(device, devices[number] if devices else None, num_jobs=jobs, cores=shares[number], in_process=in_process)
        for number in range(jobs)
    ]


def _share_cores(jobs: int) -> list[tuple[int, ...] | None]:
    """The cores that this process may use, dealt out evenly; None where the system cannot bind threads to cores.

    nnU-Net takes as many threads as the machine has cores, whatever OMP_NUM_THREADS says; this package's trainers do
    not, but nnUNetv2_predict does. (OMP_THREAD_LIMIT is no way out: oneDNN waits for ever for the threads that torch
    promised it.)
    """
    if not hasattr(os, "sched_getaffinity"):
        return [None] * jobs
    cores = sorted(os.sched_getaffinity(0))
    return [tuple(cores[number::jobs]) or (cores[number % len(cores)],) for number in range(jobs)]


def environment_of(run: Run, slot: Slot) -> dict[str, str]:
    """All environment variables of a run's commands: the user's, but with the benchmark's folders and trainers."""
    return {**os.environ, **own_variables(run, slot)}


def own_variables(run: Run, slot: Slot) -> dict[str, str]:
    """The variables that a run's commands need beside the user's own.

    ``nnUNet_raw`` stays the user's: it is only read, to know the patients of unlabeled images.
    """
    variables = {
        "nnUNet_preprocessed": str(run.preprocessed),
        "nnUNet_results": str(run.results),
        "nnUNet_extTrainer": str(trainers_folder()),
        "MPLBACKEND": "agg",
        "PYTHONUNBUFFERED": "1",
    }
    cores = slot.num_cores
    if slot.visible_device is not None:
        variables["CUDA_VISIBLE_DEVICES"] = slot.visible_device
    wanted = {}
    if slot.device == "cpu":
        # Python 3.13 tells nnU-Net how many cores there are by PYTHON_CPU_COUNT. Threads that spin while they wait take
        # their core from the data loader.
        wanted = {"OMP_NUM_THREADS": str(cores), "PYTHON_CPU_COUNT": str(cores), "OMP_WAIT_POLICY": "PASSIVE"}
        # In a process of its own, a prediction takes this many threads; otherwise it is the number of processes.
        pool = str(cores) if slot.in_process else "1"
        wanted |= {"nnUNet_n_proc_DA": "1", "nnUNet_def_n_proc": pool, "nnUNet_compile": "f"}
    elif slot.num_jobs > 1:
        # nnU-Net would start up to twelve processes for each run.
        wanted = {"nnUNet_n_proc_DA": str(min(12, max(1, cores - 1)))}
    return variables | _unless_set(wanted)


def prediction_variables(slot: Slot) -> dict[str, str]:
    """What ``nnUNetv2_predict`` needs further, so that its three processes share the cores of the slot.

    Its own process predicts with as many threads as ``nnUNet_def_n_proc`` says, if the machine has as many cores, and
    the process that exports takes as many too; the one that preprocesses heeds ``OMP_NUM_THREADS`` (nnunetv2 2.8.1,
    inference/predict_from_raw_data.py, export_prediction.py). Without a limit it is eight threads each, which on few
    cores wait for one another.
    """
    if slot.in_process or (slot.device != "cpu" and slot.num_jobs == 1):
        return {}
    num_threads = min(NNUNET_DEFAULT_PROCESSES, max(1, slot.num_cores - 1))
    return _unless_set({"OMP_NUM_THREADS": "1", "nnUNet_def_n_proc": str(num_threads)})


def _unless_set(variables: Mapping[str, str]) -> dict[str, str]:
    """Those that the user has not set."""
    return {name: value for name, value in variables.items() if name not in os.environ}


def recorded_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that may matter for a result."""
    return {name: value for name, value in sorted(environment.items()) if name.startswith(RECORDED_VARIABLES)}


@functools.cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that a result depends on."""
    found = {"python": platform.python_version()} | package_versions()
    try:
        return found | {"monai": version("monai")}
    except PackageNotFoundError:
        return found


@functools.cache
def hardware() -> dict[str, Any]:
    """The machine that this runs on."""
    gpus = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "host": platform.node(),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": joblib.cpu_count(),
        "gpus": gpus,
    }


def _processor() -> str:
    """The name that ``platform.processor`` leaves out on Linux."""
    information = Path("/proc/cpuinfo")
    if information.is_file():
        for line in information.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
