"""Checks of labels of which a part is to be ignored: whether trainings find what is annotated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from batchgenerators.utilities.file_and_folder_operations import load_pickle
from nnunetv2.training.dataloading.nnunet_dataset import infer_dataset_class
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_pix2rep.annotation.collect.preprocess import MARK, MARK_OF_PLANS, description_of_preprocessing
from nnunet_pix2rep.doctor.findings import Finding, error, ok, shorten, warning
from nnunet_pix2rep.nnunet.data.annotation_record import read_annotations
from nnunet_pix2rep.nnunet.data.sparse_labels import find_axis
from nnunet_pix2rep.nnunet.networks.planned_network import PlannedNetwork

SUBJECT = "sparse labels"


def check_sparse_labels(
    dataset_folder: Path, planned: PlannedNetwork, cases: Sequence[str], remedy: str
) -> list[Finding]:
    """Findings on preprocessed cases of a dataset with nnU-Net's ignore label; none without such a label or cases.

    Args:
        dataset_folder: The dataset's folder in ``nnUNet_preprocessed``.
        planned: Plans and configuration.
        cases: The preprocessed cases.
        remedy: The command that preprocesses partly annotated cases again.
    """
    manager = PlansManager(planned.plans)
    label_manager = manager.get_label_manager(planned.dataset_json)
    if not label_manager.has_ignore_label or not cases:
        return []
    settings = manager.get_configuration(planned.configuration)
    folder = dataset_folder / settings.data_identifier
    properties = {
        case: load_pickle(str(folder / f"{case}.pkl")) for case in cases if (folder / f"{case}.pkl").is_file()
    }
    annotated = (-1, *label_manager.all_labels)  # nnUNetDataLoader.annotated_classes_key
    places = {case: found.get("class_locations", {}) for case, found in properties.items()}
    empty = sorted(case for case, found in places.items() if len(found.get(annotated, [])) == 0)
    findings = []
    if empty:
        message = (
            f"{len(empty)} of {len(places)} cases have no annotated voxel after preprocessing, so a training learns "
            f"nothing from them: {shorten(empty)}. nnU-Net's resampling loses single slices of small spacing."
        )
        findings.append(warning(SUBJECT, message, remedy))
    if lost := sorted(_resampled_across(folder, properties, label_manager.ignore_label, settings.spacing) - {*empty}):
        message = (
            f"{len(lost)} partly annotated cases were preprocessed by nnU-Net itself, whose resampling across slices "
            f"loses single annotated slices or parts of them: {shorten(lost)}."
        )
        findings.append(warning(SUBJECT, message, remedy))
    if places and not any(len(found[key]) for found in places.values() for key in found if key != annotated):
        findings.append(error(SUBJECT, "No annotated slice shows any structure.", "annotate slices that show it"))
    findings += _of_collected_cases(dataset_folder, planned.plans["plans_name"], manager, settings, properties, remedy)
    return findings or [ok(SUBJECT, f"all {len(places)} cases have annotated voxels")]


def _of_collected_cases(
    dataset_folder: Path,
    plans_name: str,
    manager: PlansManager,
    settings: ConfigurationManager,
    properties: Mapping[str, dict[str, Any]],
    remedy: str,
) -> list[Finding]:
    """Findings on cases that ``collect`` has taken in, whether it has preprocessed them by these plans."""
    findings = []
    collected = {case for entry in read_annotations(dataset_folder) for case in entry.cases}
    replaced = sorted(case for case in collected & properties.keys() if MARK not in properties[case])
    if replaced and any(settings.use_mask_for_norm):
        message = (
            f"{len(replaced)} collected cases were preprocessed by nnU-Net itself, which normalizes partly annotated "
            f"images in another way than it does in prediction (use_mask_for_norm): {shorten(replaced)}."
        )
        findings.append(warning(SUBJECT, message, remedy))
    now = description_of_preprocessing(manager, settings)
    of_other_plans = sorted(case for case, found in properties.items() if found.get(MARK_OF_PLANS, now) != now)
    if of_other_plans:
        message = (
            f"{len(of_other_plans)} collected cases were preprocessed before {plans_name} was changed: "
            f"{shorten(of_other_plans)}."
        )
        findings.append(warning(SUBJECT, message, remedy))
    return findings


def _resampled_across(
    folder: Path, properties: Mapping[str, dict[str, Any]], ignore: int, spacing: Sequence[float]
) -> set[str]:
    """Partly annotated cases that nnU-Net's own preprocessing has resampled across their annotated slices.

    Args:
        folder: Has the preprocessed cases.
        properties: Case -> what nnU-Net's preprocessing keeps of it.
        ignore: The ignore label.
        spacing: Of the plans, in mm; of a 2D configuration within slices, which are never resampled across.
    """
    if len(spacing) == 2:
        return set()
    found = set()
    for case in (case for case, kept in properties.items() if MARK not in kept):
        labels = np.asarray(infer_dataset_class(str(folder))(str(folder), [case]).load_case(case)[1][0])
        if not (labels == ignore).any():
            continue
        axis = find_axis(labels, ignore, spacing)
        if properties[case]["shape_after_cropping_and_before_resampling"][axis] != labels.shape[axis]:
            found.add(case)
    return found
