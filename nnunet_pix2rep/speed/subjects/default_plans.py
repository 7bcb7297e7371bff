"""nnU-Net's default plans at their usual size, on synthetic images: the pretrainings whose hours users ask for."""

from __future__ import annotations

from pathlib import Path

import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    nnUNetPlannerResEncM,
)

from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.plans.planner import run_planner
from nnunet_pix2rep.speed.subjects.dataset import (
    dataset_json_of,
    fingerprint_of,
    preprocess,
    write_cases,
)
from nnunet_pix2rep.speed.subjects.trainers import PlannedDataset

DATASET = "Dataset998_SpeedDefault"
SHAPE = (128, 256, 256)  # voxels of 1 mm: 2d is planned with patches of 256 x 256, 3d_fullres of 96 x 160 x 160
SPACING = (1.0, 1.0, 1.0)
NUM_CASES = 2  # that are written
PLANNED_CASES = 100  # that nnU-Net plans for: it lowers the batch size for a dataset of a few
RESIDUAL_PLANS = "nnUNetResEncUNetMPlans"
PLANS = {
    "2d": ("nnUNetPlans", "2d"),
    "3d_fullres": ("nnUNetPlans", "3d_fullres"),
    "3d_fullres, ResEnc M": (RESIDUAL_PLANS, "3d_fullres"),
}


def make_default_datasets(
    root: Path, shape: tuple[int, int, int] = SHAPE, planned_cases: int = PLANNED_CASES
) -> dict[str, PlannedDataset]:
    """Writes, plans and preprocesses volumes of smooth noise, by nnU-Net's default planner and by that of ResEnc M.

    nnU-Net's variables must lead to folders below ``root``, see
    :func:`nnunet_pix2rep.speed.subjects.dataset.nnunet_folders`.

    Args:
        root: Gets nnU-Net's folders.
        shape: Of the volumes.
        planned_cases: Size of the dataset that nnU-Net plans for.

    Returns:
        What to pretrain on, by the names in ``PLANS``.
    """
    raw, preprocessed = root / "nnUNet_raw" / DATASET, root / "nnUNet_preprocessed" / DATASET
    cases = write_cases(raw, NUM_CASES, shape, SPACING)
    write_json(dataset_json_of(planned_cases), raw / "dataset.json")
    write_json(fingerprint_of(shape, SPACING, NUM_CASES), preprocessed / "dataset_fingerprint.json")
    # Planners build the network again and again to count its voxels, for which it needs no weights.
    with torch.device("meta"):
        run_planner(ExperimentPlanner(DATASET))
        run_planner(nnUNetPlannerResEncM(DATASET))
    write_json(dataset_json_of(NUM_CASES), raw / "dataset.json")
    write_json(dataset_json_of(NUM_CASES), preprocessed / "dataset.json")
    plans = read_json(preprocessed / "nnUNetPlans.json")
    for configuration in ("2d", "3d_fullres"):
        preprocess(raw, preprocessed, cases=cases, plans=plans, configuration=configuration)
    return {name: PlannedDataset(preprocessed, *plan) for name, plan in PLANS.items()}
