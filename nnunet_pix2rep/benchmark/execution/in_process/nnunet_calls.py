"""nnU-Net's commands as calls of its classes in this process, with the same results.

What differs from the commands: pools of processes are threads, cases are predicted one after the other,
``progress.png`` is drawn once and not after every epoch, and torch takes as many threads on a processor as
``OMP_NUM_THREADS`` says. Read against nnunetv2 2.8.1: run/run_training.py, inference/predict_from_raw_data.py,
training/nnUNetTrainer/nnUNetTrainer.py (``perform_actual_validation``), training/logging/nnunet_logger.py and
evaluation/evaluate_predictions.py (``compute_metrics_on_folder``).
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing.pool
import os
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import joblib
import numpy as np
import torch
from nnunetv2.evaluation import evaluate_predictions
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.run_training import run_training
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.utilities.file_path_utilities import get_output_folder

from nnunet_pix2rep.nnunet.checkpoints.files import FINAL
from nnunet_pix2rep.nnunet.subprocesses import Command

MODULES_WITH_POOLS: tuple[Any, ...] = (
    import_module("nnunetv2.training.nnUNetTrainer.nnUNetTrainer"),
    evaluate_predictions,
)
"""They use ``multiprocessing`` for ``multiprocessing.get_context("spawn").Pool(...)`` and nothing else."""


def run_in_this_process(command: Command) -> None:
    """Does what a command of a benchmark does.

    Args:
        command: ``nnUNetv2_train`` or ``nnUNetv2_predict`` with arguments as :class:`nnunet_pix2rep.benchmark.design.
            runs.Run` gives them; others end the process, as argparse does.
    """
    program, *arguments = command
    parser, call = COMMANDS[program]
    parsed = parser().parse_args(arguments)
    device = torch.device(parsed.device)
    _forget_the_last_command()
    _set_threads(device)
    with threads_for_processes(), one_progress_picture():
        call(parsed, device)


def _train_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("nnUNetv2_train")
    for name in ("dataset", "configuration", "fold"):
        parser.add_argument(name)
    for name in ("-p", "-tr", "-device"):
        parser.add_argument(name, required=True)
    parser.add_argument("-pretrained_weights")
    for name in ("--c", "--val"):
        parser.add_argument(name, action="store_true")
    return parser


def _train(arguments: argparse.Namespace, device: torch.device) -> None:
    run_training(
        arguments.dataset,
        arguments.configuration,
        arguments.fold,
        arguments.tr,
        arguments.p,
        arguments.pretrained_weights,
        continue_training=arguments.c,
        only_run_validation=arguments.val,
        device=device,
    )


def _predict_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("nnUNetv2_predict")
    for name in ("-i", "-o", "-d", "-c", "-p", "-tr", "-f", "-device"):
        parser.add_argument(name, required=True)
    for name in ("-npp", "-nps"):
        parser.add_argument(name, help="Numbers of processes, of which there are none here.")
    parser.add_argument("--disable_progress_bar", action="store_true")
    return parser


def _predict(arguments: argparse.Namespace, device: torch.device) -> None:
    predictor = nnUNetPredictor(device=device, allow_tqdm=not arguments.disable_progress_bar)
    model = get_output_folder(arguments.d, arguments.tr, arguments.p, arguments.c)
    predictor.initialize_from_trained_model_folder(model, (arguments.f,), FINAL)
    Path(arguments.o).mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(max(1, torch.get_num_threads() - 1))  # the predictor has a thread that cuts the patches
    predictor.predict_from_files_sequential(arguments.i, arguments.o)


COMMANDS: dict[
    str, tuple[Callable[[], argparse.ArgumentParser], Callable[[argparse.Namespace, torch.device], None]]
] = {
    "nnUNetv2_train": (_train_parser, _train),
    "nnUNetv2_predict": (_predict_parser, _predict),
}


def _forget_the_last_command() -> None:
    """Leaves nothing of a command behind that another process would not have."""
    gc.collect()
    torch.compiler.reset()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    # As fresh processes are: nnU-Net sets no seed.
    random.seed()
    np.random.seed()
    torch.seed()
    # Weights & Biases has one run in a process, which nnU-Net leaves open.
    wandb = sys.modules.get("wandb")
    if wandb is not None and wandb.run is not None:
        wandb.finish()


def _set_threads(device: torch.device) -> None:
    """As the commands do, but no more threads on a processor than there are cores for this process."""
    if device.type != "cpu":
        torch.set_num_threads(1)
        if torch.get_num_interop_threads() != 1:
            torch.set_num_interop_threads(1)  # once in a process, before there is any work
        return
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    torch.set_num_threads(int(wanted) if wanted.isdecimal() and int(wanted) > 0 else joblib.cpu_count())


class ExportThreads(multiprocessing.pool.ThreadPool):
    """Threads that export while the calling thread predicts, to which it leaves a core.

    Threads that wait for each other in every layer of a network are slower than one where they do not all have a core.
    """

    def __enter__(self) -> ExportThreads:
        """Leaves a core."""
        self._num_threads = torch.get_num_threads()
        torch.set_num_threads(max(1, self._num_threads - 1))
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        """Takes it back."""
        super().__exit__(*error)
        torch.set_num_threads(self._num_threads)


@contextmanager
def threads_for_processes() -> Iterator[None]:
    """Makes nnU-Net export and evaluate in threads: each of its spawned processes would import nnU-Net again."""
    threads = SimpleNamespace(get_context=lambda _method: SimpleNamespace(Pool=ExportThreads))
    try:
        for module in MODULES_WITH_POOLS:
            vars(module)["multiprocessing"] = threads
        yield
    finally:
        for module in MODULES_WITH_POOLS:
            vars(module)["multiprocessing"] = multiprocessing


@contextmanager
def one_progress_picture() -> Iterator[None]:
    """Draws nnU-Net's ``progress.png`` at the end: in short epochs it takes longer than the training."""
    draw, wanted = MetaLogger.plot_progress_png, {}

    def plot_later(logger: MetaLogger, folder: str) -> None:
        wanted[folder] = logger

    try:
        MetaLogger.plot_progress_png = plot_later
        yield
    finally:
        MetaLogger.plot_progress_png = draw
        for folder, logger in wanted.items():
            logger.plot_progress_png(folder)
