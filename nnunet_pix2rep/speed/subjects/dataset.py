"""A small synthetic dataset, planned and preprocessed in a folder of its own, for measuring without a user's data."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from scipy.ndimage import gaussian_filter
from tqdm import tqdm

from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.data.volume_writer import write_image
from nnunet_pix2rep.nnunet.plans.compact import COMPACT_SUFFIX, add_compact_configuration
from nnunet_pix2rep.nnunet.plans.planner import run_planner
from nnunet_pix2rep.speed.subjects.trainers import PlannedDataset

DATASET = "Dataset999_Speed"
PLANS = "Pix2RepPlans"
SLICES, SPACING = 10, (8.0, 1.5, 1.5)
Shape = tuple[int, int, int]
Spacing = tuple[float, float, float]
CONFIGURATIONS = ("2d", "2d" + COMPACT_SUFFIX)


def nnunet_folders(root: Path) -> dict[str, str]:
    """nnU-Net's variables for folders below ``root``."""
    return {name: str(root / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")}


def make_synthetic_dataset(root: Path, configuration: str, width: int = 128, num_cases: int = 4) -> PlannedDataset:
    """Writes volumes of smooth noise with an ellipsoid, plans by nnU-Net's rules and preprocesses one configuration.

    nnU-Net's variables must lead to folders below ``root``, see :func:`nnunet_folders`.

    Args:
        root: Gets nnU-Net's folders.
        configuration: ``2d`` or ``2d_compact``.
        width: Rows and columns of the images.
        num_cases: Volumes.
    """
    raw, preprocessed = root / "nnUNet_raw" / DATASET, root / "nnUNet_preprocessed" / DATASET
    shape = (SLICES, width, width)
    write_json(dataset_json_of(num_cases), raw / "dataset.json")
    cases = write_cases(raw, num_cases, shape, SPACING)
    write_json(fingerprint_of(shape, SPACING, num_cases), preprocessed / "dataset_fingerprint.json")
    run_planner(ExperimentPlanner(DATASET, plans_name=PLANS))
    plans = add_compact_configuration(read_json(preprocessed / f"{PLANS}.json"), "2d")
    write_json(plans, preprocessed / f"{PLANS}.json")
    write_json(dataset_json_of(num_cases), preprocessed / "dataset.json")
    preprocess(raw, preprocessed, cases=cases, plans=plans, configuration=configuration)
    return PlannedDataset(preprocessed, PLANS, configuration)


def dataset_json_of(num_cases: int) -> dict[str, Any]:
    """The content of ``dataset.json``."""
    return {
        "channel_names": {"0": "MRI"},
        "labels": {"background": 0, "ellipsoid": 1},
        "numTraining": num_cases,
        "file_ending": ".nii",
    }


def write_cases(raw: Path, num_cases: int, shape: Shape, spacing: Spacing) -> list[str]:
    """Writes images of smooth noise and their labels into the raw folder; returns the names of the cases."""
    return [_write_case(raw, number, shape, spacing) for number in range(num_cases)]


def _write_case(raw: Path, number: int, shape: Shape, spacing: Spacing) -> str:
    generator = np.random.default_rng(number)
    axes = np.meshgrid(*[np.linspace(-1, 1, length) for length in shape], indexing="ij")
    labels = (np.square(axes).sum(axis=0) < 0.4).astype(np.uint8)
    image = gaussian_filter(generator.normal(size=shape), (0, 2, 2)) * 5 + labels
    name = f"case_{number:02d}"
    for folder, array, file in (("imagesTr", image.astype(np.float32), f"{name}_0000"), ("labelsTr", labels, name)):
        (raw / folder).mkdir(parents=True, exist_ok=True)
        volume = SimpleITK.GetImageFromArray(array)
        volume.SetSpacing(spacing[::-1])
        write_image(volume, raw / folder / f"{file}.nii")
    return name


def fingerprint_of(shape: Shape, spacing: Spacing, num_cases: int) -> dict[str, Any]:
    """What nnU-Net's extractor would find, which takes half a minute to start."""
    intensities = {"mean": 1.0, "median": 1.0, "std": 1.0, "min": -3.0, "max": 5.0}
    intensities |= {"percentile_00_5": -2.0, "percentile_99_5": 4.0}
    return {
        "spacings": [list(spacing)] * num_cases,
        "shapes_after_crop": [list(shape)] * num_cases,
        "foreground_intensity_properties_per_channel": {"0": intensities},
        "median_relative_size_after_cropping": 1.0,
    }


def preprocess(raw: Path, preprocessed: Path, cases: list[str], plans: dict[str, Any], configuration: str) -> None:
    """Preprocesses cases for a configuration, by nnU-Net's preprocessor in this process."""
    plans_manager = PlansManager(deepcopy(plans))
    manager = plans_manager.get_configuration(configuration)
    folder = preprocessed / manager.data_identifier
    folder.mkdir()
    for case in tqdm(cases, desc="preprocessing", leave=False, disable=None):
        DefaultPreprocessor(verbose=False).run_case_save(
            str(folder / case),
            [str(raw / "imagesTr" / f"{case}_0000.nii")],
            str(raw / "labelsTr" / f"{case}.nii"),
            plans_manager,
            manager,
            dataset_json_of(len(cases)),
        )
