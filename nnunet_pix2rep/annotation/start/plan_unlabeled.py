"""Fingerprint, plans and preprocessing of a dataset from its images alone.

Read against nnunetv2 2.8.1, experiment_planning/experiment_planners/default_experiment_planner.py: a planner reads the
fingerprint, and of the labeled cases only their number (which limits the batch size) and one image (which the reader
is chosen by). Both are given to it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nnunetv2
from nnunetv2.configuration import default_num_processes
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner
from nnunetv2.paths import nnUNet_preprocessed
from nnunetv2.utilities.find_class_by_name import recursive_find_python_class

from nnunet_pix2rep.annotation.start.fingerprint import (
    FINGERPRINT_FILE,
    FROM_BODY,
    SOURCE_KEY,
    extract_fingerprint,
    find_reader,
    unlabeled_scans,
)
from nnunet_pix2rep.annotation.start.foreground import Foreground
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.dataset_cases import labeled_images
from nnunet_pix2rep.nnunet.data.dataset_folders import dataset_name_of, raw_folder
from nnunet_pix2rep.nnunet.plans.planner import run_planner
from nnunet_pix2rep.nnunet.plans.plans_file import read_plans, resolve_configuration
from nnunet_pix2rep.nnunet.plans.write import check_holds_plans, check_usable_name
from nnunet_pix2rep.nnunet.unlabeled.preprocess import Report, preprocess_unlabeled

PLANS_NAME_OPTION = "-overwrite_plans_name"


@dataclass(frozen=True)
class PlannerOptions:
    """What nnUNetv2_plan_experiment takes.

    Attributes:
        planner: Name of nnU-Net's planner class.
        gpu_memory_target: In GB; None: the planner's own.
        target_spacing: Of 3d_fullres, in mm; None: by the fingerprint.
        plans_name: Name of the plans; None: the planner's own.
    """

    planner: str = "ExperimentPlanner"
    gpu_memory_target: float | None = None
    target_spacing: Sequence[float] | None = None
    plans_name: str | None = None

    def arguments(self) -> dict[str, Any]:
        """For the planner's constructor."""
        wanted = {
            "gpu_memory_target_in_gb": self.gpu_memory_target,
            "overwrite_target_spacing": None if self.target_spacing is None else list(map(float, self.target_spacing)),
            "plans_name": self.plans_name,
        }
        return {name: value for name, value in wanted.items() if value is not None}


@dataclass
class Planned:
    """What :func:`plan_unlabeled` did.

    Attributes:
        plans_file: The plans.
        from_body: Whether foreground intensities come from the body.
        foreground: The scans of a fingerprint that was extracted now; None: there was one.
        is_new: Whether the plans were made now.
        num_labeled: Number of labeled cases, which are not preprocessed here.
        reports: Configuration -> what was preprocessed.
    """

    plans_file: Path
    from_body: bool
    foreground: Foreground | None
    is_new: bool
    num_labeled: int
    reports: dict[str, Report] = field(default_factory=dict)


def plan_unlabeled(
    dataset_name_or_id: str | int,
    configurations: Sequence[str],
    options: PlannerOptions | None = None,
    *,
    replan: bool = False,
    preprocess: bool = True,
    num_processes: int | None = None,
) -> Planned:
    """Plans a dataset by its images and preprocesses those without labels; what is done is left as it is.

    Args:
        dataset_name_or_id: nnU-Net's dataset, by name or number.
        configurations: Such as ``2d`` and ``3d_fullres``.
        options: The planner and its options.
        replan: Extract the fingerprint and plan again, although that was done.
        preprocess: Whether to preprocess the images without labels.
        num_processes: Worker processes; None: nnU-Net's default.

    Raises:
        UserError: the dataset is not there or has no scan that can be read, the planner is not known, or the plans
            lack a configuration or cannot have that name. What is wrong with a single scan is in the result.
    """
    options = options or PlannerOptions()
    if options.plans_name is not None:
        check_usable_name(options.plans_name, PLANS_NAME_OPTION)
    name = dataset_name_of(dataset_name_or_id)
    raw = raw_folder(name)
    if raw is None:
        raise UserError(f"The raw dataset {name} with its dataset.json is not in the folder that nnUNet_raw names.")
    if not nnUNet_preprocessed.is_set():
        raise UserError("The environment variable nnUNet_preprocessed is not set (nnU-Net's setting_up_paths.md).")
    planner_class = _find_planner(options.planner)
    folder = Path(nnUNet_preprocessed.require()) / name
    if options.plans_name is not None:
        check_holds_plans(folder / f"{options.plans_name}.json", PLANS_NAME_OPTION)
    num_processes = num_processes or default_num_processes
    foreground = None
    if replan or not (folder / FINGERPRINT_FILE).is_file():
        foreground = extract_fingerprint(raw, folder, num_processes)
    plans_file, is_new = _plan(planner_class, options, raw=raw, folder=folder, replan=replan)
    (folder / "gt_segmentations").mkdir(exist_ok=True)
    plans = read_plans(plans_file)
    for configuration in configurations:
        resolve_configuration(plans, configuration)
    dataset_json = read_json(raw / "dataset.json")
    from_body = read_json(folder / FINGERPRINT_FILE).get(SOURCE_KEY) == FROM_BODY
    num_labeled = len(labeled_images(raw, dataset_json))
    planned = Planned(plans_file, from_body, foreground=foreground, is_new=is_new, num_labeled=num_labeled)
    if preprocess and unlabeled_scans(raw, dataset_json):
        for configuration in configurations:
            planned.reports[configuration] = preprocess_unlabeled(
                name, configuration, plans_file.stem, num_processes=num_processes
            )
    return planned


def _find_planner(name: str) -> type[ExperimentPlanner]:
    folder = Path(nnunetv2.__path__[0]) / "experiment_planning"
    found = recursive_find_python_class(str(folder), name, "nnunetv2.experiment_planning")
    if found is None or not issubclass(found, ExperimentPlanner):
        raise UserError(f"-pl {name}: nnU-Net has no such planner in {folder}.")
    return found


def _plan(
    planner_class: type[ExperimentPlanner], options: PlannerOptions, raw: Path, folder: Path, replan: bool
) -> tuple[Path, bool]:
    """The plans file, and whether it was written now."""
    default_name = inspect.signature(planner_class).parameters["plans_name"].default
    file = folder / f"{options.plans_name or default_name}.json"
    if file.is_file() and not replan:
        return file, False
    (raw / "imagesTr").mkdir(exist_ok=True)  # nnU-Net lists it
    planner = planner_class(raw.name, **options.arguments())
    scans = unlabeled_scans(raw, planner.dataset_json)
    images = [str(files[0]) for files in scans.values()] + [case["images"][0] for case in planner.dataset.values()]
    planner.dataset = {"example": {"images": [find_reader(planner.dataset_json, images)[1]]}}
    num_scans = len(read_json(folder / FINGERPRINT_FILE)["spacings"])
    # Only the planner's copy: the file that it copies to the preprocessed dataset says how many cases are labeled.
    planner.dataset_json = planner.dataset_json | {"numTraining": num_scans}
    run_planner(planner)
    return file, True
