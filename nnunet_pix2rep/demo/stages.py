"""Stages of commands in a folder: run one after the other, shown line by line, and not run again once they are done."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
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
        output: A folder that the commands make and would not make again; what a run that was interrupted left of it is
            removed.
    """

    name: str
    title: str
    commands: tuple[Command, ...] | Callable[[], tuple[Command, ...]]
    environment: Mapping[str, str]
    output: Path | None = None


class StageFolder:
    """A folder with the results of stages and, in ``stages.json``, the record of those that are done.

    Args:
        folder: One that :func:`nnunet_pix2rep.demo.only_demo.only_demo` gives.
        settings: What the results depend on: plain values, as JSON gives them back.

    Raises:
        UserError: the folder holds results of other settings, or its record is damaged.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]):
        self.folder = folder
        self.record_file = folder / RECORD_FILE
        self._record: dict[str, Any] = {"format_version": FORMAT_VERSION, "settings": dict(settings), "stages": {}}
        if self.record_file.is_file():
            record = self._read_record()
            if record["stages"]:  # without any, there are no results of other settings
                self._require_equal(record["settings"], settings)
                self._record = record
                return
        write_json(self._record, self.record_file)

    def _read_record(self) -> dict[str, Any]:
        record = read_json(self.record_file)
        if not _is_record(record):
            raise UserError(
                f"{self.record_file} is damaged, or no record of this version. Choose another folder with --output."
            )
        return record

    def _require_equal(self, earlier: Mapping[str, Any], settings: Mapping[str, Any]) -> None:
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
                with suppress(OSError):  # perhaps it was stopped because its terminal was closed
                    print("stopped", flush=True)
                raise
            elapsed = time.perf_counter() - start
            print(f"{seconds:5.0f} s  (total {elapsed // 60:.0f}:{elapsed % 60:02.0f})", flush=True)

    def _run_stage(self, stage: Stage, runner: CommandRunner) -> float:
        log_file = self.log_file(stage)
        # Where there is a log, the stage was begun before, so that what stands there is its own.
        if stage.output is not None and stage.output.exists() and log_file.is_file():
            shutil.rmtree(stage.output)
        log_file.unlink(missing_ok=True)
        commands = stage.commands() if callable(stage.commands) else stage.commands
        seconds = sum(runner(command, log_file, stage.environment) for command in commands)
        self._record["stages"][stage.name] = {
            "commands": [shell_text(command) for command in commands],
            "seconds": round(seconds, 1),
        }
        write_json(self._record, self.record_file)
        return seconds


def _is_record(content: Any) -> bool:
    """Whether this is the content of a record of this version, and whole."""
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        return False
    settings, stages = content.get("settings"), content.get("stages")
    return (
        isinstance(settings, dict)
        and isinstance(stages, dict)
        and all(isinstance(entry, dict) and {"commands", "seconds"} <= entry.keys() for entry in stages.values())
    )
