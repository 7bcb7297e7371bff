"""Doing one run: its commands, its evaluation and its record. Anyone may do so, in this process or on a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from nnunet_pix2rep.benchmark.design.layout import BenchmarkFolder
from nnunet_pix2rep.benchmark.design.runs import (
    COMMANDS_FILE,
    FAILED,
    FINISHED,
    METRICS_FILE,
    RUN_FILE,
    RUNNING,
    BenchmarkRun,
    PlannedCell,
    Pretraining,
    next_training_command,
    put_damaged_checkpoints_aside,
)
from nnunet_pix2rep.benchmark.design.test_patients import TestSet
from nnunet_pix2rep.benchmark.execution.annotating.prepare import Annotator
from nnunet_pix2rep.benchmark.execution.evaluation import Evaluator
from nnunet_pix2rep.benchmark.execution.inherited_locks import held_lock
from nnunet_pix2rep.benchmark.execution.machine import (
    Slot,
    environment_of,
    hardware,
    own_variables,
    prediction_variables,
    recorded_environment,
    versions,
)
from nnunet_pix2rep.benchmark.execution.result_tables import write_tables
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.subprocesses import Command, run_command, shell_text

SECONDS_BETWEEN_RECORDS = 20
CommandRunner = Callable[[Command, Path, Mapping[str, str], Callable[[], None], Sequence[int]], float]
"""As :func:`nnunet_pix2rep.nnunet.subprocesses.run_command`."""


@dataclass(frozen=True)
class Executor:
    """Does runs of a benchmark.

    Attributes:
        folder: The benchmark's folder.
        test_set: What is predicted.
        evaluator: Compares predictions with references.
        annotator: Makes the annotation sets of cells; None: there are none.
    """

    folder: BenchmarkFolder
    test_set: TestSet
    evaluator: Evaluator
    annotator: Annotator | None = None

    def execute(
        self,
        run: BenchmarkRun,
        slot: Slot,
        watch: Callable[[], None] = lambda: None,
        run_a_command: CommandRunner | None = None,
    ) -> None:
        """Does what is left of a run.

        Args:
            run: The run; its pretraining must be done.
            slot: Where.
            watch: Called about once a second while a command runs; an exception of it stops the command.
            run_a_command: Runs a command; None: :func:`nnunet_pix2rep.nnunet.subprocesses.run_command`.

        Raises:
            HeldError: another process does this run.
            UserError: a command failed, or the evaluation; it is recorded as well.
        """
        slot.bind_thread()
        with held_lock(run.lock_file) as lock:
            if run.is_finished:
                return
            environment = environment_of(run, slot)
            recorder = _Recorder(run, environment, watch=watch, lock=lock, run_a_command=run_a_command or run_command)
            write_tables(self.folder)
            try:
                if self.annotator is not None and isinstance(run, PlannedCell) and run.annotation_set is not None:
                    self.annotator.prepare(run.annotation_set, run.dataset, run.plans, watch)
                self._do(run, slot, recorder)
            except UserError as error:
                recorder.finish(FAILED, str(error))
                write_tables(self.folder)
                raise
            recorder.finish(FINISHED)
            write_tables(self.folder)

    def _do(self, run: BenchmarkRun, slot: Slot, recorder: _Recorder) -> None:
        put_damaged_checkpoints_aside(run)
        command = next_training_command(run, slot.device)
        if command is not None:
            recorder.run(command)
        if isinstance(run, Pretraining):
            return
        if (images := self.test_set.images_to_predict) is not None:
            if not recorder.has_done("nnUNetv2_predict") and not self._is_predicted_elsewhere(run, recorder):
                command = run.prediction_command(images, slot.device)
                recorder.run(command, prediction_variables(slot))
        elif not run.predictions.exists():
            run.predictions.symlink_to(os.path.relpath(run.validation, run.folder), target_is_directory=True)
        rows = self.evaluator.evaluate(run.predictions, self.test_set.patients, run.folder / "summary.json")
        write_json(rows, run.folder / METRICS_FILE)

    def _is_predicted_elsewhere(self, cell: PlannedCell, recorder: _Recorder) -> bool:
        """Whether predictions are there that were not made, and perhaps left half done, by a benchmark."""
        return not recorder.has_begun("nnUNetv2_predict") and self.has_predictions(cell)

    def has_predictions(self, cell: PlannedCell) -> bool:
        """Whether there is a file for each test case."""
        ending = self.evaluator.file_ending
        return all((cell.predictions / f"{case}{ending}").is_file() for case in self.test_set.patients)

    def commands_left(self, run: BenchmarkRun, slot: Slot) -> list[Command]:
        """What :meth:`execute` would run."""
        if run.is_finished:
            return []
        training = next_training_command(run, slot.device)
        commands = [] if training is None else [training]
        images = self.test_set.images_to_predict
        if isinstance(run, PlannedCell) and images is not None and not self.has_predictions(run):
            commands.append(run.prediction_command(images, slot.device))
        return commands

    def variables(self, run: BenchmarkRun, slot: Slot) -> dict[str, str]:
        """What has to be exported before these commands."""
        return own_variables(run, slot)


class _Recorder:
    """Runs the commands of a run and keeps ``run.json`` and ``commands.txt`` up to date."""

    def __init__(
        self,
        run: BenchmarkRun,
        environment: Mapping[str, str],
        watch: Callable[[], None],
        lock: int,
        run_a_command: CommandRunner,
    ):
        self._run = run
        self._run_a_command = run_a_command
        self._environment = environment
        self._watch_run = watch
        self._lock = lock
        self._attempts: list[dict[str, Any]] = run.record.get("attempts", [])
        self._written = 0.0
        self._write(RUNNING)

    def run(self, command: Command, variables: Mapping[str, str] | None = None) -> None:
        """Runs a command and records its time, up to the last record where this process is killed.

        Args:
            command: The command.
            variables: Environment variables that it needs beside those of the run.
        """
        start = time.perf_counter()
        environment = {**self._environment, **(variables or {})}
        attempt = {
            "command": shell_text(command),
            "environment": recorded_environment(environment),
            "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "seconds": 0.0,
            "done": False,
        }
        self._attempts.append(attempt)
        with (self._run.folder / COMMANDS_FILE).open("a", encoding="utf-8") as file:
            file.write(f"{attempt['command']}\n")

        def watch() -> None:
            attempt["seconds"] = round(time.perf_counter() - start, 1)
            if time.perf_counter() - self._written > SECONDS_BETWEEN_RECORDS:
                self._write(RUNNING)
            self._watch_run()

        self._write(RUNNING)
        try:
            self._run_a_command(command, self._run.log_file, environment, watch, [self._lock])
            attempt["done"] = True
        finally:
            attempt["seconds"] = round(time.perf_counter() - start, 1)
            self._write(RUNNING)

    def has_begun(self, program: str) -> bool:
        """Whether a command was started, now or in an earlier benchmark."""
        return any(attempt["command"].startswith(program) for attempt in self._attempts)

    def has_done(self, program: str) -> bool:
        """Whether it came to its end."""
        return any(attempt["command"].startswith(program) and attempt["done"] for attempt in self._attempts)

    def finish(self, status: str, message: str | None = None) -> None:
        """Records how the run ended."""
        self._write(status, message)

    def _write(self, status: str, message: str | None = None) -> None:
        run = self._run
        cell = run.names if isinstance(run, PlannedCell) else {}
        content = {
            "status": status,
            "message": message,
            **cell,
            "seed": run.seed,
            "trainer": run.trainer,
            "plans": run.plans,
            "fold": run.fold,
            "nnunet_folder": os.path.relpath(run.output_folder, run.folder),
            "attempts": self._attempts,
            "versions": versions(),
            "hardware": hardware(),
        }
        write_json(content, run.folder / RUN_FILE)
        self._written = time.perf_counter()
