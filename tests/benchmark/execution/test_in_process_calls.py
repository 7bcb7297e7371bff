"""nnU-Net's commands as calls: what is replaced in nnU-Net, and that the results are those of the commands."""

import inspect
import multiprocessing
import os
import re
import shutil
import sys
import textwrap
from contextlib import ExitStack
from types import SimpleNamespace

import pytest
import torch
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from tiny_training import CASES, DATASET, PLANS, assert_equal_weights

from nnunet_pix2rep.benchmark.execution.in_process import nnunet_calls
from nnunet_pix2rep.benchmark.execution.in_process.worker import NnunetWorker
from nnunet_pix2rep.benchmark.launch.setup import set_up
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.subprocesses import run_command

TRAINER = "nnUNetTrainerSeededForTheTest"
# nnU-Net sets no seed, chooses between two ways to blur by their speed, and takes a thread for each core.
SEEDED_TRAINER = """
    import random
    import numpy as np
    import torch
    from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform, blur_dimension
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    GaussianBlurTransform._benchmark_wrapper = lambda self, *blur: blur_dimension(*blur)

    class NAME(nnUNetTrainer):
        def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
            for seed in (random.seed, np.random.seed, torch.manual_seed):
                seed(7)
            torch.set_num_threads(1)
            super().__init__(plans, configuration, fold, dataset_json, device)
            self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 3, 8, 1
"""


@pytest.mark.parametrize("module", nnunet_calls.MODULES_WITH_POOLS)
def test_nnunet_uses_multiprocessing_for_nothing_but_the_pools_that_become_threads(module):
    uses = re.findall(r"\bmultiprocessing\.\S+", inspect.getsource(module))
    assert uses
    assert all(use.startswith('multiprocessing.get_context("spawn").Pool(') for use in uses)
    with nnunet_calls.threads_for_processes(), module.multiprocessing.get_context("spawn").Pool(2) as pool:
        assert pool.starmap(os.getpid, [()]) == [os.getpid()]
        assert all(worker.is_alive() for worker in pool._pool)  # as nnU-Net asks
    assert module.multiprocessing is multiprocessing


def test_a_run_of_weights_and_biases_ends_with_its_command(monkeypatch):
    """The next training would go on with it, and be refused for its other settings."""
    ended = []
    for run in (None, object()):
        wandb = SimpleNamespace(run=run, finish=lambda: ended.append(True))
        monkeypatch.setitem(sys.modules, "wandb", wandb)
        nnunet_calls._forget_the_last_command()
    assert ended == [True]


@pytest.mark.parametrize(("cores", "left"), [(1, 1), (2, 1), (4, 3)])
def test_a_core_is_left_to_the_threads_that_export(cores, left):
    before = torch.get_num_threads()
    torch.set_num_threads(cores)
    try:
        with nnunet_calls.ExportThreads(1):
            assert torch.get_num_threads() == left
        assert torch.get_num_threads() == cores
    finally:
        torch.set_num_threads(before)


def test_progress_is_drawn_once_even_if_a_training_fails(monkeypatch):
    drawn = []
    monkeypatch.setattr(MetaLogger, "plot_progress_png", lambda _logger, folder: drawn.append(folder))
    logger = MetaLogger.__new__(MetaLogger)
    training = ExitStack()
    training.enter_context(nnunet_calls.one_progress_picture())
    for _ in range(3):
        logger.plot_progress_png("fold_0")
    assert drawn == []
    training.__exit__(ValueError, ValueError("failed"), None)
    assert drawn == ["fold_0"]


def test_what_a_benchmark_says_is_understood_and_anything_else_refused(dataset, settings, tmp_path):
    (cell,) = set_up(tmp_path / "out", settings(methods=("scratch",))).matrix.cells
    for options in ((), ("--c",), ("--val",)):
        program, *arguments = cell.training_command("cpu", None, options)
        parsed = nnunet_calls.COMMANDS[program][0]().parse_args(arguments)
        assert (parsed.fold, parsed.tr, parsed.c, parsed.val) == (
            "0",
            cell.trainer,
            "--c" in options,
            "--val" in options,
        )
    program, *arguments = cell.prediction_command(tmp_path, "cpu")
    assert nnunet_calls.COMMANDS[program][0]().parse_args(arguments).o == str(cell.predictions)
    with pytest.raises(SystemExit):
        nnunet_calls.COMMANDS["nnUNetv2_train"][0]().parse_args([*cell.training_command("cpu")[1:], "--npz"])


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.name == "nt", reason="open files are handed on by POSIX")
def test_results_in_process_equal_those_of_the_commands(tiny_benchmark_dataset, tmp_path):
    (tmp_path / "trainers").mkdir()
    code = textwrap.dedent(SEEDED_TRAINER).replace("NAME", TRAINER)
    (tmp_path / "trainers" / f"{TRAINER}.py").write_text(code)
    images = tmp_path / "images"
    images.mkdir()
    raw = tiny_benchmark_dataset.parents[1] / "nnUNet_raw" / DATASET / "imagesTr"
    for case in CASES[:2]:
        shutil.copy(raw / f"{case}_0000.nii.gz", images)
    train = ("nnUNetv2_train", DATASET, "2d", "0", "-p", PLANS, "-tr", TRAINER, "-device", "cpu")
    worker = NnunetWorker()
    results = {}
    try:
        for name, run in (("commands", run_command), ("first", worker.run), ("second", worker.run)):
            folder = tmp_path / name
            environment = os.environ | {
                "nnUNet_raw": str(raw.parents[1]),
                "nnUNet_preprocessed": str(tiny_benchmark_dataset.parent),
                "nnUNet_results": str(folder),
                "nnUNet_extTrainer": str(tmp_path / "trainers"),
                "nnUNet_n_proc_DA": "0",
                "nnUNet_def_n_proc": "1",
                "nnUNet_compile": "f",
                "OMP_NUM_THREADS": "1",
                "PYTHON_CPU_COUNT": "1",
            }
            predict = ("nnUNetv2_predict", "-i", str(images), "-o", str(folder / "predictions"), "-d", DATASET)
            predict += ("-c", "2d", "-p", PLANS, "-tr", TRAINER, "-f", "0", "-device", "cpu", "-npp", "1", "-nps", "1")
            for command in (train, predict):
                run(command, folder / "log.txt", environment)
            results[name] = content_of(folder)
    finally:
        worker.close()
    expected = results.pop("commands")
    assert expected["summary"]["foreground_mean"]["Dice"] > 0
    for result in results.values():
        assert_equal_weights(result.pop("weights"), expected["weights"])
        assert result["predictions"] == expected["predictions"]
        assert result["summary"]["mean"] == expected["summary"]["mean"]
        assert result["metrics"] == expected["metrics"]
        assert result["has_picture"]


def content_of(folder):
    """Weights, nnU-Net's summary and the predictions of a training."""
    model = folder / DATASET / f"{TRAINER}__{PLANS}__2d" / "fold_0"
    checkpoint = torch.load(model / "checkpoint_final.pth", weights_only=False)
    summary = read_json(model / "validation" / "summary.json")
    return {
        "weights": checkpoint["network_weights"],
        "summary": summary,
        "metrics": [case["metrics"] for case in summary["metric_per_case"]],
        "predictions": {file.name: file.read_bytes() for file in sorted((folder / "predictions").glob("*.nii.gz"))},
        "has_picture": (model / "progress.png").is_file(),
    }
