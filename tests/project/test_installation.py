import os
import shutil
import subprocess
import sys
from pathlib import Path

from nnunet_pix2rep.installation import trainers_folder

PROJECT_ROOT = Path(__file__).resolve().parents[2]
PRINT_FOLDER = "from nnunet_pix2rep.installation import trainers_folder; print(trainers_folder())"


def folder_seen_by(python_path, working_directory):
    """What an interpreter without site-packages, so without an installed nnunet_pix2rep, finds."""
    command = [sys.executable, "-S", "-c", PRINT_FOLDER]
    environment = os.environ | {"PYTHONPATH": str(python_path)}
    return subprocess.run(command, env=environment, cwd=working_directory, capture_output=True, encoding="utf-8")


def test_the_folder_holds_the_trainers_package():
    assert (trainers_folder() / "__init__.py").read_text() == (PROJECT_ROOT / "trainers" / "__init__.py").read_text()


def test_no_trainer_is_imported():
    code = (
        PRINT_FOLDER + "; import sys; assert not {'torch', 'nnunetv2', 'nnunet_pix2rep.trainers'} & sys.modules.keys()"
    )
    environment = os.environ | {"PYTHONPATH": str(PROJECT_ROOT)}
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)


def test_a_checkout_on_the_python_path_finds_its_own_trainers(tmp_path):
    result = folder_seen_by(PROJECT_ROOT, tmp_path)
    assert result.stdout.strip() == str(PROJECT_ROOT / "trainers"), result.stderr


def test_a_wheel_finds_the_trainers_inside_the_package(tmp_path):
    installed = tmp_path / "nnunet_pix2rep"
    installed.mkdir()
    for name in ("__init__.py", "errors.py", "installation.py"):
        shutil.copy(PROJECT_ROOT / "nnunet_pix2rep" / name, installed)
    shutil.copytree(PROJECT_ROOT / "trainers", installed / "trainers")
    assert folder_seen_by(tmp_path, tmp_path).stdout.strip() == str(installed.resolve() / "trainers")


def test_leftover_bytecode_is_not_taken_for_the_trainers(tmp_path):
    installed = tmp_path / "nnunet_pix2rep"
    (installed / "trainers" / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "errors.py", "installation.py"):
        shutil.copy(PROJECT_ROOT / "nnunet_pix2rep" / name, installed)
    result = folder_seen_by(tmp_path, tmp_path)
    assert result.returncode != 0
    assert "Install the package again" in result.stderr


def test_a_conversion_typed_in_a_checkout_finds_its_module_whatever_is_installed():
    command = [sys.executable, "-m", "nnunet_pix2rep.dataset_conversion.Dataset501_Sunnybrook", "--help"]
    result = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, encoding="utf-8")
    assert result.returncode == 0, result.stderr
    assert "usage" in result.stdout
