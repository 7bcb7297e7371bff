"""A run: one training by ``nnUNetv2_train``, and, for the cells of the matrix, what is predicted with it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_pix2rep.benchmark.design.annotation_sets import AnnotationSet
from nnunet_pix2rep.benchmark.design.methods import Method
from nnunet_pix2rep.benchmark.schema import arm_of
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.checkpoints.files import FINAL, LATEST, PREVIOUS, load_checkpoint_file
from nnunet_pix2rep.nnunet.subprocesses import Command
from nnunet_pix2rep.nnunet.training.pretraining.epoch_report import SUMMARY_FILE

RUN_FILE, METRICS_FILE, LOG_FILE, COMMANDS_FILE = "run.json", "metrics.json", "log.txt", "commands.txt"
LOCK_FILE = ".lock"
FINISHED, FAILED, RUNNING, WAITING = "finished", "failed", "running", "waiting"
IMPOSSIBLE, INTERRUPTED = "impossible", "interrupted"


@dataclass(frozen=True)
class Run:
    """A training in a folder of its own, under which nnU-Net's ``nnUNet_results`` lies too.

    Attributes:
        title: For messages.
        folder: Gets commands, log and results.
        dataset: nnU-Net's name.
        configuration: Name of the configuration.
        plans: Name of the plans.
        fold: Number of the fold.
        trainer: Class of the trainer.
        iterations: Length, for the time that is left.
        preprocessed: ``nnUNet_preprocessed``.
    """

    title: str
    folder: Path
    dataset: str
    configuration: str
    plans: str
    fold: int
    trainer: str
    iterations: int
    preprocessed: Path

    @property
    def results(self) -> Path:
        """``nnUNet_results`` of this run: methods share trainers, so that they can't share it."""
        return self.folder / "nnUNet_results"

    @property
    def output_folder(self) -> Path:
        """Where nnU-Net writes the training."""
        name = f"{self.trainer}__{self.plans}__{self.configuration}"
        return self.results / self.dataset / name / f"fold_{self.fold}"

    @property
    def final_checkpoint(self) -> Path:
        """The final weights."""
        return self.output_folder / FINAL

    @property
    def log_file(self) -> Path:
        """What the commands printed."""
        return self.folder / LOG_FILE

    @property
    def lock_file(self) -> Path:
        """Held by whoever runs this."""
        return self.folder / LOCK_FILE

    @property
    def record(self) -> dict[str, Any]:
        """``run.json``; empty where there is none yet."""
        file = self.folder / RUN_FILE
        return read_json(file) if file.is_file() else {}

    @property
    def is_finished(self) -> bool:
        """Whether all is done, evaluation too."""
        return self.record.get("status") == FINISHED

    def training_command(self, device: str, weights: Path | None = None, options: tuple[str, ...] = ()) -> Command:
        """``nnUNetv2_train`` as a user would type it."""
        command: Command = ("nnUNetv2_train", self.dataset, self.configuration, str(self.fold), "-p", self.plans)
        command += ("-tr", self.trainer, "-device", device)
        return command + (("-pretrained_weights", str(weights)) if weights is not None else ()) + options


@dataclass(frozen=True)
class Pretraining(Run):
    """A self-supervised training, which serves all cells of its methods.

    Attributes:
        seed: Added to the configured seed.
    """

    seed: int = 0

    @property
    def is_trained(self) -> bool:
        """Whether nnU-Net is done, whoever started it."""
        return self.final_checkpoint.is_file() and (self.output_folder / SUMMARY_FILE).is_file()


@dataclass(frozen=True)
class PlannedCell(Run):
    """A cell of the matrix: a training on the labels of one draw, and what is predicted with it.

    Attributes:
        method: The method.
        shots: Number of labeled patients; None: the budget is counted in slices.
        seed: Which draw of them.
        pretraining: Whose weights are handed over, if any.
        impossible: Why the method can't be trained here; None: it can.
        annotation_set: Which slices are annotated; None: all slices of the labeled patients.
        feature_pretraining: Whose features choose these slices, if any.
    """

    method: Method
    shots: int | None
    seed: int
    pretraining: Pretraining | None = None
    impossible: str | None = None
    annotation_set: AnnotationSet | None = None
    feature_pretraining: Pretraining | None = None

    @property
    def names(self) -> dict[str, Any]:
        """What tells the cell from others, by the columns of the tables."""
        chosen = self.annotation_set
        return {
            "method": self.method.name,
            "shots": self.shots,
            "selector": None if chosen is None else chosen.selector,
            "budget": None if chosen is None else chosen.budget,
            "seed": self.seed,
        }

    @property
    def arm(self) -> str:
        """What is compared with others at the same effort: the method, with the selector where there is one."""
        return arm_of(self.method.name, None if self.annotation_set is None else self.annotation_set.selector)

    @property
    def prerequisites(self) -> tuple[Pretraining, ...]:
        """What has to be done first."""
        needed = (self.pretraining, self.feature_pretraining)
        return tuple(dict.fromkeys(pretraining for pretraining in needed if pretraining is not None))

    @property
    def is_trained(self) -> bool:
        """Whether nnU-Net has trained and validated, whoever started it."""
        return self.final_checkpoint.is_file() and (self.validation / "summary.json").is_file()

    @property
    def validation(self) -> Path:
        """Predictions of the validation set with the final weights, in the original geometry."""
        return self.output_folder / "validation"

    @property
    def predictions(self) -> Path:
        """Predictions of the test cases."""
        return self.folder / "predictions"

    @property
    def weights(self) -> Path | None:
        """The checkpoint that is handed over."""
        return self.pretraining.final_checkpoint if self.pretraining is not None else self.method.weights

    def prediction_command(self, images: Path, device: str) -> Command:
        """``nnUNetv2_predict`` as a user would type it."""
        command: Command = ("nnUNetv2_predict", "-i", str(images), "-o", str(self.predictions), "-d", self.dataset)
        command += ("-c", self.configuration, "-p", self.plans, "-tr", self.trainer, "-f", str(self.fold))
        return (*command, "-device", device, "-npp", "1", "-nps", "1", "--disable_progress_bar")


BenchmarkRun = Pretraining | PlannedCell


def next_training_command(run: BenchmarkRun, device: str) -> Command | None:
    """The command that is left of a training: from the start, from a checkpoint, or the validation; None: it is done.

    ``checkpoint_best.pth``, which nnU-Net would go on from where there is no other, is never used: it is the best on
    the validation set, which may be the test set here.
    """
    if run.is_trained:
        return None
    if run.final_checkpoint.is_file():
        return run.training_command(device, options=("--val",))
    if (run.output_folder / LATEST).is_file():
        return run.training_command(device, options=("--c",))
    return run.training_command(device, run.weights if isinstance(run, PlannedCell) else None)


def put_damaged_checkpoints_aside(run: Run) -> None:
    """Renames checkpoints that cannot be read, since nnU-Net would fail on them.

    nnU-Net's own trainers write straight onto the final name, so that a killed one can leave half a file. Ours go on
    from the checkpoint before a damaged latest one by themselves.
    """
    for name in (FINAL, LATEST):
        checkpoint = run.output_folder / name
        if not checkpoint.is_file() or (name == LATEST and checkpoint.with_name(PREVIOUS).is_file()):
            continue
        try:
            load_checkpoint_file(checkpoint)
        except UserError:
            checkpoint.replace(checkpoint.with_name(f"{name}.damaged"))
