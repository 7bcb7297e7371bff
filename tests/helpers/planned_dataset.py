"""A tiny dataset that nnU-Net's own planners have planned, shared by several test modules."""

import os
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import SimpleITK
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.experiment_planning.experiment_planners.residual_unets.residual_encoder_unet_planners import (
    ResEncUNetPlanner,
)

from nnunet_pix2rep.files import write_json

DATASET = "Dataset900_Tiny"


@contextmanager
def environment_of(root: Path):
    """nnU-Net's environment variables for folders below ``root``; the earlier values return afterwards."""
    names = ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")
    with patch.dict(os.environ, {name: str(root / name) for name in names}):
        yield


def make_planned_dataset(root: Path, shape=(24, 200, 180), spacing=(6.0, 1.25, 1.25), num_cases=4) -> Path:
    """Writes a raw dataset and its fingerprint, runs nnU-Net's planners, returns the dataset's preprocessed folder.

    The images are tiny: nnU-Net plans by the fingerprint, which gives the wanted shape and spacing.
    """
    raw, preprocessed = root / "nnUNet_raw" / DATASET, root / "nnUNet_preprocessed" / DATASET
    for name in ("imagesTr/case_{:02d}_0000.nii.gz", "labelsTr/case_{:02d}.nii.gz"):
        for number in range(num_cases):
            path = raw / name.format(number)
            path.parent.mkdir(parents=True, exist_ok=True)
            SimpleITK.WriteImage(SimpleITK.Image(4, 4, 4, SimpleITK.sitkUInt8), str(path))
    write_json(
        {
            "channel_names": {"0": "MRI"},
            "labels": {"background": 0, "cavity": 1},
            "numTraining": num_cases,
            "file_ending": ".nii.gz",
        },
        raw / "dataset.json",
    )
    intensities = {"mean": 1.0, "median": 1.0, "std": 1.0, "min": 0.0, "max": 2.0}
    write_json(
        {
            "spacings": [list(spacing)] * num_cases,
            "shapes_after_crop": [list(shape)] * num_cases,
            "foreground_intensity_properties_per_channel": {
                "0": intensities | {"percentile_00_5": 0.0, "percentile_99_5": 2.0}
            },
            "median_relative_size_after_cropping": 1.0,
        },
        preprocessed / "dataset_fingerprint.json",
    )
    with environment_of(root):
        ExperimentPlanner(DATASET).plan_experiment()
        ResEncUNetPlanner(DATASET).plan_experiment()
    return preprocessed
