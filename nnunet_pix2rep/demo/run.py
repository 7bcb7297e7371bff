"""The demo: the same effort of annotation spent on one patient and on suggested slices, with and without Pix2Rep."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from nnunet_pix2rep.benchmark.execution.in_process.worker import NnunetWorker
from nnunet_pix2rep.demo.commands import demo_stages
from nnunet_pix2rep.demo.only_demo import only_demo
from nnunet_pix2rep.demo.report import FIGURE_FILE, RESULTS_FILE
from nnunet_pix2rep.demo.results import format_results
from nnunet_pix2rep.demo.settings import DemoFolders, DemoSettings
from nnunet_pix2rep.demo.stages import CommandRunner, StageFolder
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.subprocesses import run_command

WORKER = (sys.executable, "-m", "nnunet_pix2rep.demo.worker")


def run_demo(output: Path, settings: DemoSettings | None = None) -> dict[str, Any]:
    """Runs the demo, or the rest of one that was interrupted; prints progress and the table of results.

    Args:
        output: Gets nnU-Net's folders, ``summary.json``, ``demo.png``, ``stages.json`` and ``logs/``.
        settings: None for the defaults.

    Returns:
        The content of ``summary.json``.

    Raises:
        UserError: the data or the output folder is not fit, another demo works in that folder, or a command failed.
    """
    settings = settings or DemoSettings()
    if settings.data is not None and not settings.data.is_dir():
        raise UserError(
            f"{settings.data} is not a folder. --data takes a Sunnybrook folder with Images/ and Labels/ in it."
        )
    output = output.resolve()
    with only_demo(output) as lock:
        folder = StageFolder(output, settings.to_record())
        print(f"Everything is written to {output}")
        with _one_process(lock) as runner:
            folder.run(demo_stages(DemoFolders(output, settings.dataset), settings), runner)
        return _summarize(folder, settings)


def _summarize(folder: StageFolder, settings: DemoSettings) -> dict[str, Any]:
    """Writes ``summary.json``, prints the results, and returns what was written."""
    output = folder.folder
    results = read_json(output / RESULTS_FILE)
    summary = results | {
        "seconds": sum(folder.seconds.values()),
        "seconds_per_stage": folder.seconds,
        **settings.to_record(),
        "commands": folder.commands,
    }
    write_json(summary, output / "summary.json")
    print(
        f"\n{format_results(results)}\n\nFigure:  {output / FIGURE_FILE}\nSlices:  "
        f"{DemoFolders(output, settings.dataset).work(output) / 'overview.html'}\nSummary: {output / 'summary.json'}"
    )
    return summary


@contextmanager
def _one_process(lock: int) -> Iterator[CommandRunner]:
    """Runs all commands in one process, which starts up once; the commands hold the lock, an open file."""
    if os.name == "nt":  # the worker inherits open files, which Windows does not know
        yield run_command
        return
    worker = NnunetWorker(WORKER)
    try:
        yield partial(worker.run, inherited_files=(lock,))
    finally:
        worker.close()
