"""Runs a command with the packages in .gpu/, on a machine without network: ``python3 packed.py COMMAND ...``.

They are unpacked once for each pack, whole or not at all.
"""

from __future__ import annotations

import hashlib
import os
import sys
import tarfile
import tempfile
from importlib.metadata import distributions
from pathlib import Path

ARCHIVE = Path(__file__).resolve().parents[2] / ".gpu" / "site.tar.xz"
# As pip writes them: processes that a command spawns import its script, and must not begin the command again.
SCRIPT = """#!/usr/bin/env python3
import sys

from {module} import {function}

if __name__ == "__main__":
    sys.exit({function}())
"""


def unpacked(archive: Path, parent: Path) -> Path:
    """The folder of the packages, which is made in ``parent`` where it is not there yet."""
    folder = parent / f"packed_{hashlib.sha256(archive.read_bytes()).hexdigest()[:16]}"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=parent) as temporary:
            site = Path(temporary) / "site"
            with tarfile.open(archive) as packed:
                packed.extractall(site, filter="data")
            write_scripts(site)
            site.rename(folder)
    return folder


def write_scripts(site: Path) -> None:
    """Writes the console scripts of all packages to ``bin``."""
    (site / "bin").mkdir(exist_ok=True)
    for distribution in distributions(path=[str(site)]):
        for entry in distribution.entry_points.select(group="console_scripts"):
            script = site / "bin" / entry.name
            script.write_text(SCRIPT.format(module=entry.module, function=entry.attr), encoding="utf-8")
            script.chmod(0o755)


def environment_with(site: Path) -> dict[str, str]:
    """This process's variables, with the packages and their scripts first."""
    first = {"PYTHONPATH": site, "PATH": site / "bin"}
    joined = {name: f"{path}{os.pathsep}{os.environ.get(name, '')}" for name, path in first.items()}
    return {**os.environ, **{name: paths.rstrip(os.pathsep) for name, paths in joined.items()}}


if __name__ == "__main__":
    command = sys.argv[1:]
    os.execvpe(command[0], command, environment_with(unpacked(ARCHIVE, Path(tempfile.gettempdir()))))
