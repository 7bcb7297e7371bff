"""The benchmark of speed: ratios of this package to nnU-Net and to the paper's definition, and how long a pretraining
takes on the user's machine.
"""

from __future__ import annotations

import os
import platform
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from nnunet_pix2rep.devices import choose_device
from nnunet_pix2rep.nnunet.checkpoints.files import package_versions
from nnunet_pix2rep.nnunet.environment import environment
from nnunet_pix2rep.speed.bench import Bench
from nnunet_pix2rep.speed.measurements.pretraining import usable_cores
from nnunet_pix2rep.speed.settings import PRETRAININGS, SpeedSettings
from nnunet_pix2rep.speed.summary import summary_lines, views_on_gpu, views_on_gpu_lines
from nnunet_pix2rep.speed.timing.time_limit import TimeLimit

FORMAT_VERSION = 2
COMPILE = "nnUNet_compile"


def run_speed(
    settings: SpeedSettings,
    report: Callable[[str], None] = print,
    start: float | None = None,
    keep: Callable[[dict[str, Any]], None] = lambda _results: None,
) -> dict[str, Any]:
    """Measures the chosen parts.

    Args:
        settings: What to measure.
        report: Gets a line for every result as soon as it is known.
        start: When the command began, by ``time.monotonic``, for the time limit; None: now.
        keep: Gets what is known so far, again and again: a command that is killed has not measured for nothing.

    Returns:
        The content of ``speed.json``; until all is measured, ``left_out`` is missing.

    Raises:
        UserError: the dataset, its plans or its configuration are missing, or the device is.
    """
    device = choose_device(settings.device)
    limit = TimeLimit(settings.time_limit, start)
    results: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "machine": _machine(device),
        "settings": vars(settings),
    }
    with ExitStack() as stack:
        stack.enter_context(_cudnn_as_in_nnunet())
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pix2rep_speed_")))
        bench = Bench(settings, device, limit=limit, root=root, stack=stack)
        for part in settings.parts:
            if part not in PRETRAININGS and not limit.allows(part, part):
                continue
            with environment({COMPILE: _compile_in(part)}):
                results[part] = bench.measure(part, partial(_keep_rows, results, part, keep))
            keep(results)
            for line in summary_lines(part, results[part]):
                report(line)
    _conclude(results, limit, report)
    return results


def _keep_rows(
    results: dict[str, Any], part: str, keep: Callable[[dict[str, Any]], None], rows: list[dict[str, Any]]
) -> None:
    keep(results | {part: rows})


def _conclude(results: dict[str, Any], limit: TimeLimit, report: Callable[[str], None]) -> None:
    """Adds what was left out, and what the pretrainings say about making the views on the GPU."""
    results["left_out"] = limit.left_out
    if limit.left_out:
        report(f"Left out: {'; '.join(limit.left_out)}")
    rows = [row for part in PRETRAININGS for row in results.get(part, [])]
    if rows:
        results["views_on_gpu"] = views_on_gpu(rows)
        for line in views_on_gpu_lines(results["views_on_gpu"], results["machine"]["device"]):
            report(line)


@contextmanager
def _cudnn_as_in_nnunet() -> Iterator[None]:
    """cuDNN chooses its algorithms by trial, as in ``run_training`` (nnunetv2 2.8.1, run/run_training.py)."""
    earlier, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = earlier


def _compile_in(part: str) -> str:
    """Whether nnU-Net is to compile the networks of a part: ratios without, as the user says, or else not.

    Compiling takes longer than measuring, and each contestant would be compiled.
    """
    return "t" if part == "pretraining_compiled" else "f" if part == "pretraining" else os.environ.get(COMPILE, "f")


def _machine(device: torch.device) -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "cores": usable_cores(),
        "torch_threads": torch.get_num_threads(),
        "versions": package_versions(),
    }
