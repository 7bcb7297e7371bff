"""A tiny preprocessed dataset with a network that trains in a second, for tests that run trainers in this process."""

from __future__ import annotations

import multiprocessing
import multiprocessing.pool
import shutil
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK
import torch
from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform, blur_dimension
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from planned_dataset import environment_of

from nnunet_pix2rep.config.merge import merged
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.installation import trainers_folder

DATASET = "Dataset901_TinyTraining"
PLANS = "TinyPlans"
RESIDUAL_PLANS = "TinyResidualPlans"
SHAPE = (12, 32, 32)
CASES = tuple(f"case_{number:02d}" for number in range(6))
SPLITS = (
    {"train": list(CASES[:2]), "val": list(CASES[4:])},
    {"train": list(CASES[:4]), "val": list(CASES[4:])},
    {"train": list(CASES[2:]), "val": list(CASES[:2])},
)
LENGTH = {"num_epochs": 3, "num_iterations_per_epoch": 2, "num_val_iterations_per_epoch": 1, "save_every": 1}
PRETRAINING = LENGTH | {
    "picture_every": 0,
    "sampling": {"num_points": 64},
    "head": {"hidden_channels": 8, "channels": 8},
}
ORDINARY_LABELS: dict[str, Any] = {"background": 0, "ring": 1, "core": 2}
REGIONS: dict[str, Any] = {"background": 0, "whole": [1, 2], "core": 2}


def make_tiny_dataset(
    root: Path,
    labels: Mapping[str, Any] = ORDINARY_LABELS,
    num_channels: int = 1,
    configurations: Sequence[str] = ("2d",),
    ignored_value: int | None = None,
    annotated_slices: Mapping[str, Sequence[int]] | None = None,
    empty_cases: Sequence[str] = (),
) -> Path:
    """Makes, plans and preprocesses six volumes of 12 x 32 x 32 voxels of 1 mm; returns their preprocessed folder.

    Two plans, of plain and of residual blocks, share the data; folds 0 and 1 hold out the same two cases.

    Args:
        root: Folder for nnU-Net's folders.
        labels: As in dataset.json.
        num_channels: Channels of the images.
        configurations: Of the plans.
        ignored_value: What stands where nothing is annotated; None: everything is annotated.
        annotated_slices: Case -> slices that are annotated; None: two of three, in every case.
        empty_cases: Cases of which all that is annotated is background.
    """
    raw, preprocessed = root / "nnUNet_raw" / DATASET, root / "nnUNet_preprocessed" / DATASET
    dataset_json = {
        "channel_names": {str(channel): "MRI" for channel in range(num_channels)},
        "labels": dict(labels),
        "numTraining": len(CASES),
        "file_ending": ".nii.gz",
    }
    if any(isinstance(values, list) for values in labels.values()):
        dataset_json["regions_class_order"] = [1, 2]
    _write_raw(raw, num_channels, ignored_value, annotated_slices, empty_cases)
    write_json(dataset_json, raw / "dataset.json")
    write_json(_fingerprint(num_channels), preprocessed / "dataset_fingerprint.json")
    with environment_of(root):
        ExperimentPlanner(DATASET, plans_name=PLANS).plan_experiment()
    plans = tiny_plans(read_json(preprocessed / f"{PLANS}.json"), configurations)
    write_json(plans, preprocessed / f"{PLANS}.json")
    write_json(residual_plans(plans), preprocessed / f"{RESIDUAL_PLANS}.json")
    write_json(dataset_json, preprocessed / "dataset.json")
    write_json(list(SPLITS), preprocessed / "splits_final.json")
    shutil.copytree(raw / "labelsTr", preprocessed / "gt_segmentations")
    for configuration in configurations:
        _preprocess(raw, preprocessed, plans, configuration, dataset_json, num_channels)
    return preprocessed


def _write_raw(
    raw: Path,
    num_channels: int,
    ignored_value: int | None,
    annotated_slices: Mapping[str, Sequence[int]] | None,
    empty_cases: Sequence[str],
) -> None:
    generator = np.random.default_rng(0)
    distance = np.linalg.norm(np.indices(SHAPE) - np.array(SHAPE).reshape(3, 1, 1, 1) / 2, axis=0)
    for folder in ("imagesTr", "labelsTr"):
        (raw / folder).mkdir(parents=True)
    for number, case in enumerate(CASES):
        labels = (distance < 9 + number % 3).astype(np.uint8) + (distance < 4)
        for channel in range(num_channels):
            image = labels * (1.0 + channel) + generator.normal(0, 0.3, SHAPE) + 0.1
            SimpleITK.WriteImage(
                SimpleITK.GetImageFromArray(image.astype(np.float32)),
                str(raw / "imagesTr" / f"{case}_{channel:04d}.nii.gz"),
            )
        if case in empty_cases:
            labels[:] = 0
        if ignored_value is not None:
            two_of_three = [index for index in range(SHAPE[0]) if index % 3]
            annotated = two_of_three if annotated_slices is None else annotated_slices[case]
            labels[np.isin(np.arange(SHAPE[0]), annotated, invert=True)] = ignored_value
        SimpleITK.WriteImage(SimpleITK.GetImageFromArray(labels), str(raw / "labelsTr" / f"{case}.nii.gz"))


def _fingerprint(num_channels: int) -> dict[str, Any]:
    intensities = {"mean": 1.0, "median": 1.0, "std": 1.0, "min": 0.0, "max": 2.0}
    intensities |= {"percentile_00_5": 0.0, "percentile_99_5": 2.0}
    return {
        "spacings": [[1.0, 1.0, 1.0]] * len(CASES),
        "shapes_after_crop": [list(SHAPE)] * len(CASES),
        "foreground_intensity_properties_per_channel": {str(channel): intensities for channel in range(num_channels)},
        "median_relative_size_after_cropping": 1.0,
    }


def tiny_plans(plans: dict[str, Any], configurations: Sequence[str]) -> dict[str, Any]:
    """nnU-Net's plans with a U-Net of three stages and 4 to 8 features, and Pix2Rep's settings for a short run."""
    made = {}
    for name in configurations:
        configuration = deepcopy(plans["configurations"]["2d" if name == "2d" else "3d_fullres"])
        dimension = len(configuration["patch_size"])
        configuration |= {
            "data_identifier": f"{PLANS}_{name}",
            "patch_size": [24, 24] if dimension == 2 else [8, 16, 16],
            "batch_size": 2,
            "pix2rep": {"pretraining": PRETRAINING, "finetuning": LENGTH},
        }
        configuration["architecture"]["arch_kwargs"] |= {
            "n_stages": 3,
            "features_per_stage": [4, 8, 8],
            "kernel_sizes": [[3] * dimension] * 3,
            "strides": [[1] * dimension, [2] * dimension, [2] * dimension],
            "n_conv_per_stage": [1] * 3,
            "n_conv_per_stage_decoder": [1] * 2,
        }
        made[name] = configuration
    return plans | {"plans_name": PLANS, "configurations": made}


def residual_plans(plans: dict[str, Any]) -> dict[str, Any]:
    """The same plans with a residual encoder."""
    plans = deepcopy(plans) | {"plans_name": RESIDUAL_PLANS}
    for configuration in plans["configurations"].values():
        architecture = configuration["architecture"]
        architecture["network_class_name"] = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"
        architecture["arch_kwargs"]["n_blocks_per_stage"] = architecture["arch_kwargs"].pop("n_conv_per_stage")
    return plans


def _preprocess(
    raw: Path, preprocessed: Path, plans: dict[str, Any], configuration: str, dataset_json: dict, num_channels: int
) -> None:
    plans_manager = PlansManager(deepcopy(plans))
    manager = plans_manager.get_configuration(configuration)
    folder = preprocessed / manager.data_identifier
    folder.mkdir()
    for case in CASES:
        images = [str(raw / "imagesTr" / f"{case}_{channel:04d}.nii.gz") for channel in range(num_channels)]
        DefaultPreprocessor(verbose=False).run_case_save(
            str(folder / case), images, str(raw / "labelsTr" / f"{case}.nii.gz"), plans_manager, manager, dataset_json
        )


class ThreadContext:
    """Stands for nnU-Net's spawned pools of processes, each of which would import nnU-Net again for six seconds."""

    Pool = multiprocessing.pool.ThreadPool


def prepare_for_training(patch: pytest.MonkeyPatch, preprocessed: Path, results: Path) -> None:
    """Sets nnU-Net's variables, and leaves out what takes long and does not matter: pictures, pools of processes."""
    variables = {
        "nnUNet_raw": str(preprocessed.parents[1] / "nnUNet_raw"),
        "nnUNet_preprocessed": str(preprocessed.parent),
        "nnUNet_results": str(results / "nnUNet_results"),
        "nnUNet_extTrainer": str(trainers_folder()),
        "nnUNet_n_proc_DA": "0",
    }
    for name, value in variables.items():
        patch.setenv(name, value)
    patch.setattr(MetaLogger, "plot_progress_png", lambda _logger, _folder: None)
    patch.setattr(multiprocessing, "get_context", lambda _method=None: ThreadContext)
    # It chooses between two implementations by their speed, so that runs differ in the last digit.
    patch.setattr(GaussianBlurTransform, "_benchmark_wrapper", lambda _self, *blur: blur_dimension(*blur))


def make_trainer(
    trainer_class: type,
    folder: Path,
    fold: int | str = 0,
    configuration: str = "2d",
    plans_name: str = PLANS,
    device: torch.device = torch.device("cpu"),
    **settings: Any,
) -> Any:
    """A trainer as nnU-Net's command line makes it, with settings such as ``finetuning={"num_epochs": 2}``."""
    plans = read_json(folder / f"{plans_name}.json") | {"continue_training": False}
    content = plans["configurations"][configuration]
    content["pix2rep"] = merged(content["pix2rep"], settings)
    return trainer_class(plans, configuration, fold, read_json(folder / "dataset.json"), device)


def weights_of(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all weights."""
    return {key: value.clone() for key, value in network.state_dict().items()}


def assert_equal_weights(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> None:
    """Bit for bit, the same keys."""
    assert first.keys() == second.keys()
    assert [key for key in first if not torch.equal(first[key], second[key])] == []


def differing(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> set[str]:
    """Keys whose weights differ."""
    return {key for key in first if not torch.equal(first[key], second[key])}


def training_log(trainer: Any) -> str:
    """The text of the trainer's log file."""
    return Path(trainer.log_file).read_text(encoding="utf-8")
