"""Checks of labels of which a part is to be ignored: whether trainings find what is annotated."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from batchgenerators.utilities.file_and_folder_operations import load_pickle
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pix2rep.annotation.collect.preprocess import MARK, MARK_OF_PLANS, description_of_preprocessing
from nnunet_pix2rep.doctor.findings import Finding, error, ok, shorten, warning
from nnunet_pix2rep.nnunet.data.annotation_record import read_annotations
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
    if places and not any(len(found[key]) for found in places.values() for key in found if key != annotated):
        findings.append(error(SUBJECT, "No annotated slice shows any structure.", "annotate slices that show it"))
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
            f"{len(of_other_plans)} collected cases were preprocessed before {planned.plans['plans_name']} was "
            f"changed: {shorten(of_other_plans)}."
        )
        findings.append(warning(SUBJECT, message, remedy))
    return findings or [ok(SUBJECT, f"all {len(places)} cases have annotated voxels")]
