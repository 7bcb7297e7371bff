"""The commands of a page of docs/tutorials, run as a reader would type them, in one process."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from command_line import SHORT

from nnunet_pix2rep.benchmark.execution.in_process.worker import NnunetWorker
from nnunet_pix2rep.demo.run import WORKER
from nnunet_pix2rep.nnunet.subprocesses import nnunet_environment

TUTORIALS = Path(__file__).resolve().parents[2] / "docs" / "tutorials"
RUN = re.compile(r"^<!-- run -->\n```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)

NUM_SLICES = "4"  # of fewer patients than the tests have, so that some scans are left to be predicted


def commands_of(page: str) -> list[list[str]]:
    """The commands in all blocks that are marked to be run, split into words."""
    blocks = RUN.findall((TUTORIALS / page).read_text(encoding="utf-8"))
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def shortened(command: list[str]) -> tuple[str, ...]:
    """The same with the shortest trainings, if it is the one that says how long they are, and few suggested slices."""
    words = list(command)
    if words[:2] == ["nnunet_pix2rep", "suggest"]:
        words[words.index("--slices") + 1] = NUM_SLICES
    if words[:2] == ["nnunet_pix2rep", "plan"]:
        lengths = {setting.partition("=")[0] for setting in SHORT}
        words = [word for word in words if word.partition("=")[0] not in lengths] + SHORT
    return tuple(words)


class TutorialShell:
    """Runs commands one after the other in one process that starts up once, in the working directory.

    Args:
        root: Holds nnU-Net's folders and the log.
    """

    def __init__(self, root: Path):
        self._environment = nnunet_environment(root)
        self._log = root / "log.txt"
        self._worker = NnunetWorker(WORKER)

    def type(self, command: tuple[str, ...]) -> str:
        """Runs a command and returns what it printed."""
        self._log.unlink(missing_ok=True)
        self._worker.run(command, self._log, self._environment)
        return self._log.read_text(encoding="utf-8")

    def close(self) -> None:
        """Ends the process."""
        self._worker.close()
