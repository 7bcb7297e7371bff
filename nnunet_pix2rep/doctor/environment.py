"""Checks of the machine: variables, versions, the way from nnU-Net to the trainers."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

import nnunetv2
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from packaging.requirements import Requirement

from nnunet_pix2rep.devices import usable_devices
from nnunet_pix2rep.doctor.findings import Finding, error, ok, warning
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.installation import trainers_folder
from nnunet_pix2rep.nnunet.checkpoints.nnssl_plan import installed_commands
from nnunet_pix2rep.nnunet.environment import WANDB_SWITCH

TESTED_NNUNET = "2.8.1"
TRAINER_VARIABLE = "nnUNet_extTrainer"
NUMBERS = ("nnUNet_n_proc_DA", "nnUNet_def_n_proc")
SET_TRAINERS = f'export {TRAINER_VARIABLE}="$(nnunet_pix2rep trainers)"'


def check_environment() -> list[Finding]:
    """All checks that need no dataset."""
    return [*check_folders(), *check_options(), check_device(), *check_versions(), *check_trainers()]


def check_folders() -> list[Finding]:
    """nnU-Net's three folders. Raw data may be missing where only trainings run."""
    findings = []
    for name, needed in (("nnUNet_raw", False), ("nnUNet_preprocessed", True), ("nnUNet_results", True)):
        value = os.environ.get(name)
        report = error if needed else warning
        if not value:
            findings.append(report("environment", f"{name} is not set.", f"export {name}=/path/to/{name}"))
        elif not Path(value).is_dir():
            findings.append(report("environment", f"{name}={value} is not a folder.", f"mkdir -p {value}"))
        elif name == "nnUNet_results" and not os.access(value, os.W_OK):
            findings.append(error("environment", f"{name}={value} cannot be written to.", f"chmod u+w {value}"))
        else:
            findings.append(ok("environment", f"{name}={value}"))
    return findings


def check_options() -> list[Finding]:
    """Values of nnU-Net's further variables that would stop a training (nnunetv2 2.8.1)."""
    findings = []
    for name in NUMBERS:
        value = os.environ.get(name)
        if value is not None and not value.isdigit():
            findings.append(error("environment", f"{name}={value} is not a whole number.", f"export {name}=2"))
    value = os.environ.get(WANDB_SWITCH, "0")
    if value not in ("0", "1", "True", "False", "true", "false"):
        findings.append(error("environment", f"{WANDB_SWITCH}={value} is neither 0 nor 1.", f"unset {WANDB_SWITCH}"))
    elif value in ("1", "True", "true") and importlib.util.find_spec("wandb") is None:
        findings.append(
            error("environment", f"{WANDB_SWITCH}={value}, but wandb is not installed.", "pip install wandb")
        )
    return findings


def check_device() -> Finding:
    """Whether trainings find the GPU that nnU-Net asks for unless told otherwise."""
    devices = usable_devices()
    if "cuda" in devices:
        return ok("device", "torch finds a CUDA GPU")
    options = " or ".join(f"-device {name}" for name in reversed(devices))
    return warning("device", "torch finds no CUDA GPU, which nnU-Net asks for.", f"nnUNetv2_train ... {options}")


def check_versions() -> list[Finding]:
    """Installed packages against what this package requires and was tested with."""
    try:
        required = [Requirement(text) for text in requires("nnunet_pix2rep") or []]
    except PackageNotFoundError:
        return [error("versions", "nnunet_pix2rep itself is not installed.", "pip install .")]
    findings = []
    for requirement in required:
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        findings += _check_version(requirement)
    missing = [finding for finding in findings if finding.remedy]
    if not missing:
        findings = [ok("versions", f"all {len(findings)} required packages are installed in the required versions")]
    return [*findings, _tested_version(), _nnssl_commands()]


def _check_version(requirement: Requirement) -> list[Finding]:
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return [error("versions", f"{requirement.name} is not installed.", f'pip install "{requirement}"')]
    if not requirement.specifier.contains(installed, prereleases=True):
        message = f"{requirement.name} is {installed}, but {requirement} is required."
        return [error("versions", message, f'pip install "{requirement}"')]
    return [ok("versions", f"{requirement.name} {installed}")]


def _tested_version() -> Finding:
    try:
        installed = version("nnunetv2")
    except PackageNotFoundError:
        return error("versions", "nnunetv2 is not installed.", f"pip install nnunetv2=={TESTED_NNUNET}")
    if installed == TESTED_NNUNET:
        return ok("versions", f"nnunetv2 {installed}, which this package was tested with")
    message = f"nnunetv2 is {installed}; this package was tested with {TESTED_NNUNET}."
    return warning("versions", message, f"pip install nnunetv2=={TESTED_NNUNET}")


def _nnssl_commands() -> Finding:
    commands = installed_commands()
    return ok("versions", f"nnU-Net's commands for nnssl checkpoints: {', '.join(commands) or 'not in this nnU-Net'}")


def check_trainers() -> list[Finding]:
    """Whether nnU-Net finds this package's trainers, by its own finder, and no others of the same name."""
    try:
        folder = trainers_folder()
    except UserError as problem:
        return [error("trainers", str(problem), "pip install --force-reinstall nnunet_pix2rep")]
    value = os.environ.get(TRAINER_VARIABLE)
    if not value:
        return [error("trainers", f"{TRAINER_VARIABLE} is not set, so nnU-Net finds no trainer.", SET_TRAINERS)]
    findings = [
        warning("trainers", f"{path} in {TRAINER_VARIABLE} is not a folder; nnU-Net skips it.", SET_TRAINERS)
        for path in value.split(os.pathsep)
        if path.strip() and not Path(path).is_dir()
    ]
    names = sorted(path.stem for path in folder.glob("nnUNetTrainer*.py"))
    for name in names:
        place, failure = _find(name, value.split(os.pathsep))
        if failure is not None:
            message = f"nnU-Net does not find {name}: {failure}"
            return [*findings, error("trainers", message, SET_TRAINERS)]
        if place != folder:
            message = f"nnU-Net finds {name} in {place}, but this package's is in {folder}."
            return [*findings, error("trainers", message, f"{SET_TRAINERS} (or remove the other)")]
    return [*findings, ok("trainers", f"nnU-Net finds all {len(names)} trainers in {folder}")]


def _find(name: str, paths: Sequence[str]) -> tuple[Path | None, str | None]:
    """Where nnU-Net's finder takes a trainer from, or why it fails."""
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            trainer = recursive_find_trainer_class_by_name(name)
    except Exception as problem:  # the finder imports modules of anyone, which may fail in any way
        return None, f"{type(problem).__name__}: {' '.join(str(problem).split())}"
    if trainer.__module__.startswith("nnunetv2."):
        return Path(nnunetv2.__file__).parent, None
    # nnU-Net searches the folders in turn, and removes what it has imported, so the class does not know its file
    folders = (Path(path).resolve() for path in paths if path.strip())
    return next((folder for folder in folders if (folder / f"{name}.py").is_file()), None), None
