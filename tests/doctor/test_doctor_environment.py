import os
import shutil
from importlib.metadata import PackageNotFoundError

import pytest
from findings_of import only_problem, sound

from nnunet_pix2rep.doctor import environment
from nnunet_pix2rep.doctor.environment import check_device, check_folders, check_options, check_trainers, check_versions
from nnunet_pix2rep.doctor.findings import Level
from nnunet_pix2rep.installation import trainers_folder

FOLDERS = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")


@pytest.fixture(autouse=True)
def machine(tmp_path, monkeypatch):
    """nnU-Net's folders and the trainers' folder, all as they should be."""
    for name in FOLDERS:
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("nnUNet_n_proc_DA", "nnUNet_def_n_proc", "nnUNet_wandb_enabled"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("nnUNet_extTrainer", str(trainers_folder()))
    return tmp_path


def test_a_sound_machine_has_no_finding_to_fix():
    assert sound(check_folders())
    assert check_options() == []
    assert sound(check_trainers())


def test_without_a_gpu_it_says_which_option_trainings_need(monkeypatch):
    monkeypatch.setattr(environment, "usable_devices", lambda: ("cpu", "cuda"))
    assert check_device().level is Level.OK
    monkeypatch.setattr(environment, "usable_devices", lambda: ("cpu", "mps"))
    assert check_device().remedy == "nnUNetv2_train ... -device mps or -device cpu"


@pytest.mark.parametrize(
    ("name", "level"),
    [("nnUNet_raw", Level.WARNING), ("nnUNet_preprocessed", Level.ERROR), ("nnUNet_results", Level.ERROR)],
)
def test_a_variable_that_is_not_set_or_leads_nowhere(monkeypatch, machine, name, level):
    monkeypatch.delenv(name)
    assert f"{name} is not set" in only_problem(check_folders(), level).message
    monkeypatch.setenv(name, str(machine / "nowhere"))
    problem = only_problem(check_folders(), level)
    assert "is not a folder" in problem.message
    assert problem.remedy == f"mkdir -p {machine / 'nowhere'}"


def test_results_that_cannot_be_written(monkeypatch):
    monkeypatch.setattr(environment.os, "access", lambda _path, _mode: False)
    assert "cannot be written to" in only_problem(check_folders(), Level.ERROR).message


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("nnUNet_n_proc_DA", "many", "is not a whole number"),
        ("nnUNet_def_n_proc", "-1", "is not a whole number"),
        ("nnUNet_wandb_enabled", "yes", "is neither 0 nor 1"),
    ],
)
def test_values_that_would_stop_nnunet(monkeypatch, name, value, message):
    monkeypatch.setenv(name, value)
    assert message in only_problem(check_options(), Level.ERROR).message


def test_weights_and_biases_switched_on_but_not_installed(monkeypatch):
    monkeypatch.setenv("nnUNet_wandb_enabled", "1")
    monkeypatch.setattr(environment.importlib.util, "find_spec", lambda _name: None)
    assert only_problem(check_options(), Level.ERROR).remedy == "pip install wandb"


def versions(monkeypatch, required, installed):
    def version(name):
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    monkeypatch.setattr(environment, "requires", lambda _name: required)
    monkeypatch.setattr(environment, "version", version)
    return check_versions()


def test_versions_within_the_required_range(monkeypatch):
    installed = {"nnunetv2": "2.8.1", "torch": "2.6.0+cpu"}
    required = ["nnunetv2>=2.8,<2.9", "torch>=2.6", 'pytest>=8; extra == "test"']
    assert sound(versions(monkeypatch, required, installed))


def test_a_package_that_is_missing_or_too_new(monkeypatch):
    problem = only_problem(versions(monkeypatch, ["filelock"], {"nnunetv2": "2.8.1"}), Level.ERROR)
    assert problem.remedy == 'pip install "filelock"'
    findings = versions(monkeypatch, ["nnunetv2>=2.8,<2.9"], {"nnunetv2": "2.9.0"})
    assert [finding.level for finding in findings if finding.remedy] == [Level.ERROR, Level.WARNING]


def test_an_untested_nnunet_within_the_range(monkeypatch):
    problem = only_problem(versions(monkeypatch, ["nnunetv2>=2.8,<2.9"], {"nnunetv2": "2.8.2"}), Level.WARNING)
    assert "tested with 2.8.1" in problem.message


def test_a_package_that_is_not_installed_at_all(monkeypatch):
    def missing(_name):
        raise PackageNotFoundError

    monkeypatch.setattr(environment, "requires", missing)
    assert only_problem(check_versions(), Level.ERROR).remedy == "pip install ."


def test_trainers_without_the_variable(monkeypatch):
    monkeypatch.delenv("nnUNet_extTrainer")
    assert "nnUNet_extTrainer is not set" in only_problem(check_trainers(), Level.ERROR).message


def test_trainers_in_another_folder_only(monkeypatch, machine):
    monkeypatch.setenv("nnUNet_extTrainer", str(machine))
    problem = only_problem(check_trainers(), Level.ERROR)
    assert "does not find" in problem.message
    assert problem.remedy == 'export nnUNet_extTrainer="$(nnunet_pix2rep trainers)"'


def test_a_folder_of_the_variable_that_is_not_there(monkeypatch, machine):
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join([str(machine / "gone"), str(trainers_folder())]))
    assert "gone" in only_problem(check_trainers(), Level.WARNING).message


def test_a_module_of_somebody_else_that_cannot_be_imported(monkeypatch, machine):
    (machine / "broken").mkdir()
    (machine / "broken" / "aTrainer.py").write_text("import a_package_that_does_not_exist")
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join([str(machine / "broken"), str(trainers_folder())]))
    assert "a_package_that_does_not_exist" in only_problem(check_trainers(), Level.ERROR).message


def test_trainers_of_another_copy_come_first(monkeypatch, machine):
    shutil.copytree(trainers_folder(), machine / "copy")
    monkeypatch.setenv("nnUNet_extTrainer", os.pathsep.join([str(machine / "copy"), str(trainers_folder())]))
    assert f"in {machine / 'copy'}, but" in only_problem(check_trainers(), Level.ERROR).message
