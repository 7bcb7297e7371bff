"""Stands for nnU-Net's commands: leaves the files that they leave, in no time."""

import csv
import shutil
import threading
from pathlib import Path

import torch
from tiny_training import DATASET

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json


class FakeNnunet:
    """To be used instead of ``run_command``.

    Args:
        failing: Names of trainers that fail.
        labels: Folder of the references of a test folder, which ``nnUNetv2_predict`` copies.
    """

    def __init__(self, failing=(), labels=None):
        self.failing = set(failing)
        self.labels = labels
        self.checkpoints = {}
        self.commands = []
        self.environments = []
        self.at_once = 0
        self.most_at_once = 0
        self.wait = None
        self._lock = threading.Lock()

    def __call__(self, command, log_file, environment, watch=None, inherited_files=()):
        with self._lock:
            self.commands.append(command)
            self.environments.append(environment)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            if self.wait is not None:
                self.wait(command, watch)
            log_file.parent.mkdir(parents=True, exist_ok=True)
            with log_file.open("a") as log:
                log.write("2026-01-01: Epoch 0\n")
            self._predict(command) if command[0] == "nnUNetv2_predict" else self._train(command, environment)
        finally:
            with self._lock:
                self.at_once -= 1
        return 1.0

    def _train(self, command, environment):
        plans, trainer = command[command.index("-p") + 1], command[command.index("-tr") + 1]
        if trainer in self.failing:
            raise UserError(f"{trainer} failed")
        if "-pretrained_weights" in command:
            assert Path(command[command.index("-pretrained_weights") + 1]).is_file()
        folder = (
            Path(environment["nnUNet_results"]) / DATASET / f"{trainer}__{plans}__{command[2]}" / f"fold_{command[3]}"
        )
        folder.mkdir(parents=True, exist_ok=True)
        torch.save(self.checkpoints.get(trainer, {"network_weights": {}}), folder / "checkpoint_final.pth")
        if trainer.endswith("Pretrain"):
            write_json({}, folder / "pretraining_summary.json")
            return
        dataset = Path(environment["nnUNet_preprocessed"]) / DATASET
        (folder / "validation").mkdir(exist_ok=True)
        for case in read_json(dataset / "splits_final.json")[int(command[3])]["val"]:
            shutil.copy(dataset / "gt_segmentations" / f"{case}.nii.gz", folder / "validation")
        write_json({}, folder / "validation" / "summary.json")

    def _predict(self, command):
        output = Path(command[command.index("-o") + 1])
        shutil.copytree(self.labels, output, dirs_exist_ok=True)

    def trainers(self):
        """The trainers of the commands in their order."""
        return [command[command.index("-tr") + 1] for command in self.commands]


def rows_of_table(file: Path) -> list[dict[str, str]]:
    """What a table of the benchmark's folder says, a row each."""
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def status_of(benchmark) -> dict[tuple[str, str, str], str]:
    """(method, shots, seed) -> status."""
    rows = rows_of_table(benchmark.folder.runs_file)
    return {(row["method"], row["shots"], row["seed"]): row["status"] for row in rows}
