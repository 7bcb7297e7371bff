"""Checks of images without labels, and of datasets that have nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pix2rep.annotation.start.fingerprint import FINGERPRINT_FILE, FROM_BODY, SOURCE_KEY
from nnunet_pix2rep.doctor.findings import Finding, error, ok, shorten, warning
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.dataset_folders import UNLABELED_FOLDER, is_without_labels, labeled_cases, raw_folder
from nnunet_pix2rep.nnunet.loading.fold_cases import check_fold
from nnunet_pix2rep.nnunet.loading.training_images import usable_pool_cases
from nnunet_pix2rep.nnunet.networks.planned_network import PlannedNetwork
from nnunet_pix2rep.nnunet.unlabeled.namesakes import differing_namesakes
from nnunet_pix2rep.nnunet.unlabeled.pool import SUFFIX
from nnunet_pix2rep.nnunet.unlabeled.waiting import waiting_scans

SUBJECT = "unlabeled images"
INTENSITIES = "foreground_intensity_properties_per_channel"


def has_pool(folder: Path) -> bool:
    """Whether a dataset can do without labeled cases: it starts from scans alone, or has preprocessed such."""
    return is_without_labels(folder.name) or any(folder.glob(f"*{SUFFIX}.json"))


def check_fold_without_labels(folder: Path, fold: int | str | None) -> list[Finding]:
    """What can be trained without any label."""
    try:
        check_fold("all" if fold is None else fold, folder, [])
    except UserError as problem:
        return [error("splits", str(problem), "-f all")]
    return [ok("splits", "no labeled case yet, so fold all is the only one: pretrain there, then annotate")]


def check_pool(
    folder: Path, planned: PlannedNetwork, labeled: Sequence[str], remedy: str, elsewhere: str
) -> list[Finding]:
    """The unlabeled images: preprocessed under these plans, complete, not of test patients.

    Args:
        folder: The dataset's folder in ``nnUNet_preprocessed``.
        planned: The plans.
        labeled: The preprocessed labeled cases.
        remedy: The command that preprocesses unlabeled images.
        elsewhere: The doctor's command for the plans, to which the name of another configuration can be added.
    """
    manager = PlansManager(planned.plans)
    planned_configuration = manager.get_configuration(planned.configuration)
    try:
        images, remarks = usable_pool_cases(folder, manager, planned_configuration, labeled)
        waiting = waiting_scans(folder, planned_configuration.data_identifier)
    except UserError as problem:
        return [error(SUBJECT, str(problem), remedy)]
    findings = [warning(SUBJECT, f"{remark}.", remedy) for remark in remarks] + _check_namesakes(folder)
    if not images and not labeled_cases(folder.name):
        message = (
            "There is neither a labeled case nor an image without label that is preprocessed for "
            f"{planned.configuration}: nothing can be trained."
        )
        other = _configuration_with(waiting, folder, planned)
        return [*findings, error(SUBJECT, message, f"{elsewhere}{other}, or {remedy}" if other else remedy)]
    if waiting:
        findings.append(_describe_waiting(waiting, folder, planned, remedy=remedy, elsewhere=elsewhere))
    if not images and not findings:
        return [ok(SUBJECT, "none")]
    return [*findings, ok(SUBJECT, f"{len(images)} take part in the pretraining")]


def _check_namesakes(folder: Path) -> list[Finding]:
    """Names that two images have: ``collect`` refuses them, and a training leaves the one without label out."""
    raw = raw_folder(folder.name)
    namesakes = {} if raw is None else differing_namesakes(raw, read_json(raw / "dataset.json")["file_ending"])
    if not namesakes:
        return []
    files = list(namesakes.values())
    message = f"imagesTr and {UNLABELED_FOLDER} have different images of one name: {shorten(files)}."
    return [warning(SUBJECT, message, f"rename {UNLABELED_FOLDER}/{files[0]}, or move it away")]


def _describe_waiting(
    waiting: Sequence[str], folder: Path, planned: PlannedNetwork, *, remedy: str, elsewhere: str
) -> Finding:
    message = (
        f"{len(waiting)} scan(s) in {UNLABELED_FOLDER}, such as {waiting[0]}, are not preprocessed for "
        f"{planned.configuration}"
    )
    other = _configuration_with(waiting, folder, planned)
    if other is None:
        return warning(SUBJECT, f"{message}, so no training with it uses them.", remedy)
    return ok(SUBJECT, f"{message}, but for {other}; to check that: {elsewhere}{other}")


def _configuration_with(waiting: Sequence[str], folder: Path, planned: PlannedNetwork) -> str | None:
    """Another configuration of the plans for which all of these scans are preprocessed."""
    manager = planned.plans_manager()
    for name in manager.available_configurations if waiting else ():
        try:
            others = waiting_scans(folder, manager.get_configuration(name).data_identifier)
        except UserError:  # a record that cannot be read is for the check of that configuration
            continue
        if not set(waiting) & set(others):
            return name
    return None


def check_intensities(folder: Path, planned: PlannedNetwork, plan_command: str) -> list[Finding]:
    """Whether CT is still normalized by the intensities of the body, although something is annotated by now."""
    file = folder / FINGERPRINT_FILE
    fingerprint = read_json(file) if file.is_file() else {}
    by_body = fingerprint.get(SOURCE_KEY) == FROM_BODY and planned.plans[INTENSITIES] == fingerprint[INTENSITIES]
    if not by_body or "CTNormalization" not in planned.settings["normalization_schemes"]:
        return []
    if not labeled_cases(folder.name):
        return [ok("plans", "CT is normalized by the intensities of the body, since nothing is annotated")]
    message = (
        "CT is normalized by the intensities of the body. The plans are valid; plans by what is annotated may be "
        "better, but need another pretraining."
    )
    remedy = f"{plan_command} --replan -overwrite_plans_name {planned.plans['plans_name']}2"
    return [warning("plans", message, remedy)]
