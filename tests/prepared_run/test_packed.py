"""The packed environment: unpacked once and whole, with commands that may spawn processes."""

import os
import subprocess
import sys
import tarfile
from pathlib import Path

import packed
import pytest

MODULE = """
from multiprocessing import get_context

def main():
    with get_context("spawn").Pool(1) as pool:
        print(pool.map(abs, [-1, 2]))
"""


def pack(folder, text=MODULE):
    """A package with a command, as an archive."""
    site = folder / "site"
    (site / "made_up-1.dist-info").mkdir(parents=True)
    (site / "made_up.py").write_text(text, encoding="utf-8")
    (site / "made_up-1.dist-info" / "METADATA").write_text("Name: made_up\nVersion: 1\n", encoding="utf-8")
    entry_points = "[console_scripts]\nmade_up_command = made_up:main\n"
    (site / "made_up-1.dist-info" / "entry_points.txt").write_text(entry_points, encoding="utf-8")
    archive = folder / "site.tar.xz"
    with tarfile.open(archive, "w:xz") as file:
        file.add(site, arcname=".")
    return archive


@pytest.mark.skipif(os.name == "nt", reason="scripts begin with #!")
def test_a_packed_command_may_spawn_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    environment = packed.environment_with(packed.unpacked(pack(tmp_path), tmp_path))
    run = subprocess.run(["made_up_command"], env=environment, capture_output=True, encoding="utf-8", timeout=600)
    assert (run.stdout, run.returncode) == ("[1, 2]\n", 0), run.stderr


def test_a_pack_is_unpacked_once_and_another_one_beside_it(tmp_path):
    archive = pack(tmp_path / "first")
    folder = packed.unpacked(archive, tmp_path)
    (folder / "mine").touch()
    assert packed.unpacked(archive, tmp_path) == folder
    assert (folder / "mine").exists()
    other = packed.unpacked(pack(tmp_path / "second", "main = None"), tmp_path)
    assert other != folder
    assert (other / "made_up.py").read_text(encoding="utf-8") == "main = None"


def test_what_cannot_be_unpacked_leaves_nothing_behind(tmp_path):
    archive = tmp_path / "site.tar.xz"
    archive.write_bytes(pack(tmp_path / "whole").read_bytes()[:-100])
    parent = tmp_path / "parent"
    parent.mkdir()
    with pytest.raises((EOFError, tarfile.ReadError)):
        packed.unpacked(archive, parent)
    assert list(parent.iterdir()) == []
