"""Stages of commands in a folder: run one after the other, shown line by line, and not run again once they are done."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.subprocesses import Command, run_command, shell_text

RECORD_FILE = "stages.json"
LOG_FOLDER = "logs"
FORMAT_VERSION = 1

CommandRunner = Callable[[Command, Path, Mapping[str, str]], float]
"""Runs a command, given its log file and environment, and returns elapsed seconds."""


@dataclass(frozen=True)
class Stage:
    """Some commands that belong together.

    Attributes:
        name: Of its log file and in the record.
        title: What the user reads.
        commands: Run in this order; a stage that was interrupted runs them all again. A function where they depend on
            what the stages before have written.
        environment: All environment variables of the commands.
    """

    name: str
    title: str
    commands: tuple[Command, ...] | Callable[[], tuple[Command, ...]]
    environment: Mapping[str, str]


class StageFolder:
    """A folder with the results of stages and, in ``stages.json``, the record of those that are done.

    Args:
        folder: A new or empty folder, or one of an earlier run with the same settings.
        settings: What the results depend on: plain values, as JSON gives them back.

    Raises:
        UserError: the folder holds something else, or results of other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        self.folder = folder
        self.record_file = folder / RECORD_FILE
        self._record: dict[str, Any] = {"format_version": FORMAT_VERSION, "settings": dict(settings), "stages": {}}
        if self.record_file.is_file():
            self._record = self._read_record(settings)
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise UserError(
                f"{folder} holds files, but no {RECORD_FILE} of an earlier run. Choose another folder with --output."
            )
        else:
            write_json(self._record, self.record_file)

    def _read_record(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        record = read_json(self.record_file)
        if not isinstance(record, dict) or record.get("format_version") != FORMAT_VERSION:
            raise UserError(f"{self.record_file} is no record of this version. Choose another folder with --output.")
        earlier = record["settings"]
        changed = [
            f"{name} was {earlier.get(name)!r} and is now {settings.get(name)!r}"
            for name in sorted({*earlier, *settings})
            if earlier.get(name) != settings.get(name)
        ]
        if changed:
            raise UserError(
                f"{self.folder} holds results of other settings: {'; '.join(changed)}. Choose another folder with "
                "--output, or repeat those settings to go on."
            )
        return record

    @property
    def seconds(self) -> dict[str, float]:
        """How long each stage that is done took."""
        return {name: entry["seconds"] for name, entry in self._record["stages"].items()}

    @property
    def commands(self) -> dict[str, list[str]]:
        """What each stage that is done ran."""
        return {name: entry["commands"] for name, entry in self._record["stages"].items()}

    def log_file(self, stage: Stage) -> Path:
        """Where the commands of a stage write."""
        return self.folder / LOG_FOLDER / f"{stage.name}.log"

    def run(self, stages: Sequence[Stage], runner: CommandRunner = run_command) -> None:
        """Runs those stages that are not done, and prints a line for each.

        Args:
            stages: The stages.
            runner: Runs their commands.

        Raises:
            UserError: a command failed; the message has its exit code and the end of its log.
        """
        start = time.perf_counter()
        for number, stage in enumerate(stages, 1):
            print(f"[{number}/{len(stages)}] {stage.title:<72}", end=" ", flush=True)
            if stage.name in self._record["stages"]:
                print("done before", flush=True)
                continue
            try:
                seconds = self._run_stage(stage, runner)
            except BaseException:
                print("stopped", flush=True)
                raise
            elapsed = time.perf_counter() - start
            print(f"{seconds:5.0f} s  (total {elapsed // 60:.0f}:{elapsed % 60:02.0f})", flush=True)

    def _run_stage(self, stage: Stage, runner: CommandRunner) -> float:
        log_file = self.log_file(stage)
        log_file.unlink(missing_ok=True)
        commands = stage.commands() if callable(stage.commands) else stage.commands
        seconds = sum(runner(command, log_file, stage.environment) for command in commands)
        self._record["stages"][stage.name] = {
            "commands": [shell_text(command) for command in commands],
            "seconds": round(seconds, 1),
        }
        write_json(self._record, self.record_file)
        return seconds
