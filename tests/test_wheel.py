"""What `pip install .` installs: every module, template and marker of the repository, and nothing else."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NEEDED_TO_BUILD = ("pyproject.toml", "setup.py", "README.md", "LICENSE")
INSTALLED_AS = {
    "nnunet_pix2rep": "nnunet_pix2rep",
    "trainers": "nnunet_pix2rep/trainers",
    "dataset_conversion": "nnunet_pix2rep/dataset_conversion",
}


def package_files(folder):
    """Files of a folder, without what Python and editors leave there."""
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy: setuptools writes a build folder and metadata beside the sources."""
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in NEEDED_TO_BUILD:
        shutil.copy(ROOT / name, source)
    for folder in INSTALLED_AS:
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--no-index", "-w", target]
    built = subprocess.run([*command, source], capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    (path,) = target.glob("*.whl")
    with zipfile.ZipFile(path) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


@pytest.mark.slow
def test_the_wheel_holds_what_the_repository_holds(wheel):
    expected = {
        f"{target}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, target in INSTALLED_AS.items()
        for path in package_files(ROOT / folder)
    }
    assert wheel == expected


@pytest.mark.slow
def test_the_wheel_says_that_the_package_has_type_hints(wheel):
    assert "nnunet_pix2rep/py.typed" in wheel
