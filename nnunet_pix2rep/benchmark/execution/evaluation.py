"""How good predictions are: nnU-Net's evaluator for the Dice, MONAI for surface distances.

Everything is measured in the original geometry, per case and class. What is not defined stays empty:

- A class that is neither in the reference nor predicted: all measures are undefined (nnU-Net's own rule for the Dice).
- A class in one of the two only: Dice and surface Dice are 0; the Hausdorff distance has no value, since there is no
  surface to measure to. Means of the Hausdorff distance are therefore over the cases in which the class was found.

The surface Dice is that of Nikolov et al. (arXiv 1809.04430): the part of both surfaces that lies within the tolerance
of the other. Voxels of an ignore label count in nothing.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.evaluation.evaluate_predictions import (
    compute_metrics,
    label_or_region_to_key,
    region_or_label_to_mask,
    save_summary_json,
)
from nnunetv2.imageio.reader_writer_registry import determine_reader_writer_from_dataset_json
from nnunetv2.utilities.json_export import recursive_fix_for_json_export
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path

NO_SURFACE_METRICS = (
    "Surface Dice and Hausdorff distance are left empty: they need MONAI. Install it with pip install "
    "'nnunet_pix2rep[surface]' before the benchmark begins."
)
Class = int | tuple[int, ...]
UNDEFINED = {"surface_dice": None, "hd95": None}


def has_surface_metrics() -> bool:
    """Whether MONAI is installed."""
    return importlib.util.find_spec("monai") is not None


def class_names(dataset_json: Mapping[str, Any], plans: Mapping[str, Any]) -> dict[Class, str]:
    """nnU-Net's label or region -> its name in ``dataset.json``, in nnU-Net's order, without the background."""
    label_manager = PlansManager(dict(plans)).get_label_manager(dict(dataset_json))
    classes = label_manager.foreground_regions if label_manager.has_regions else label_manager.foreground_labels
    names = {}
    for name, value in dataset_json["labels"].items():
        values = [int(entry) for entry in value] if isinstance(value, (list, tuple)) else [int(value)]
        names[tuple(values)] = name
    return {
        _plain(entry): names[tuple(int(value) for value in (entry if isinstance(entry, tuple) else (entry,)))]
        for entry in classes
    }


def _plain(entry: Any) -> Class:
    return tuple(int(value) for value in entry) if isinstance(entry, tuple) else int(entry)


class Evaluator:
    """Compares predictions with references.

    Args:
        dataset_json: nnU-Net's.
        plans: Content of a plans file, for labels and regions.
        labels: Folder of the references.
        surface_tolerance: Of the surface Dice, in mm.
    """

    def __init__(
        self, dataset_json: Mapping[str, Any], plans: Mapping[str, Any], labels: Path, surface_tolerance: float
    ):
        self.classes = class_names(dataset_json, plans)
        self.surface_tolerance = surface_tolerance
        self._labels = labels
        self.file_ending = dataset_json["file_ending"]
        self._dataset_json = dict(dataset_json)
        self._ignored = PlansManager(dict(plans)).get_label_manager(self._dataset_json).ignore_label

    def evaluate(self, predictions: Path, patients: Mapping[str, str], summary_file: Path) -> list[dict[str, Any]]:
        """Evaluates the predictions of all cases.

        Args:
            predictions: Folder with a file per case.
            patients: Case -> name of its patient.
            summary_file: Gets nnU-Net's ``summary.json``.

        Returns:
            For each case and class ``patient``, ``case``, ``class``, ``dice``, ``surface_dice`` and ``hd95`` (mm); None
            where undefined or not measured.

        Raises:
            UserError: a prediction is missing.
        """
        missing = [case for case in patients if not (predictions / f"{case}{self.file_ending}").is_file()]
        if missing:
            raise UserError(f"{predictions} has no prediction of {len(missing)} test case(s), such as {missing[0]}.")
        rows, per_case = [], []
        for case, patient in sorted(patients.items()):
            metrics, surfaces = self._evaluate_case(case, predictions)
            per_case.append(metrics)
            for label, name in self.classes.items():
                dice = float(metrics["metrics"][label]["Dice"])
                measures = {"dice": None if np.isnan(dice) else dice, **surfaces[label]}
                rows.append({"patient": patient, "case": case, "class": name, **measures})
        self._write_summary(per_case, summary_file)
        return rows

    def _evaluate_case(self, case: str, predictions: Path) -> tuple[dict[str, Any], dict[Class, dict[str, Any]]]:
        files = [str(folder / f"{case}{self.file_ending}") for folder in (self._labels, predictions)]
        reader = determine_reader_writer_from_dataset_json(self._dataset_json, files[0], verbose=False)()
        metrics = compute_metrics(*files, reader, list(self.classes), self._ignored)
        if not has_surface_metrics():
            return metrics, {label: dict(UNDEFINED) for label in self.classes}
        (reference, properties), (prediction, _) = (reader.read_seg(file) for file in files)
        counted = np.ones_like(reference[0], dtype=bool) if self._ignored is None else reference[0] != self._ignored
        surfaces = {}
        for label in self.classes:
            truth, found = (region_or_label_to_mask(image[0], label) & counted for image in (reference, prediction))
            surfaces[label] = surface_metrics(truth, found, properties["spacing"], self.surface_tolerance)
        return metrics, surfaces

    def _write_summary(self, per_case: list[dict[str, Any]], summary_file: Path) -> None:
        """As nnU-Net's ``compute_metrics_on_folder`` (nnunetv2 2.8.1) writes it, without its pool of processes."""
        names = next(iter(per_case[0]["metrics"].values())).keys()
        means = {
            label: {name: _mean([case["metrics"][label][name] for case in per_case]) for name in names}
            for label in self.classes
        }
        foreground = {name: float(np.mean([means[label][name] for label in means])) for name in names}
        for content in (*per_case, means, foreground):
            recursive_fix_for_json_export(content)
        summary = {"metric_per_case": per_case, "mean": means, "foreground_mean": foreground}
        with atomic_path(summary_file) as temporary:
            save_summary_json(summary, str(temporary))

    def labels(self) -> dict[str, str]:
        """nnU-Net's key of each class in ``summary.json`` -> its name."""
        return {label_or_region_to_key(label): name for label, name in self.classes.items()}


def surface_metrics(
    reference: np.ndarray, prediction: np.ndarray, spacing: list[float], tolerance: float
) -> dict[str, float | None]:
    """Surface Dice and the 95th percentile of the Hausdorff distance, by MONAI.

    Args:
        reference: Bool, shape (Z, Y, X); an axis of length 1 is left out, so that a flat image has a contour and not
            only surface.
        prediction: The same shape.
        spacing: In mm, along the axes of the arrays.
        tolerance: In mm.

    Returns:
        ``surface_dice`` from 0 to 1 and ``hd95`` in mm; None where undefined, see the module.
    """
    import torch
    from monai.metrics import compute_hausdorff_distance, compute_surface_dice

    if not reference.any() and not prediction.any():
        return dict(UNDEFINED)
    if not reference.any() or not prediction.any():
        return {"surface_dice": 0.0, "hd95": None}
    kept = [axis for axis, length in enumerate(reference.shape) if length > 1]
    widths = tuple(float(spacing[axis]) for axis in kept)
    y, y_pred = (
        torch.from_numpy(np.stack([~mask, mask]).astype(np.float32))[None]
        for mask in (np.squeeze(reference), np.squeeze(prediction))
    )
    surface_dice = compute_surface_dice(y_pred, y, [tolerance], spacing=widths, use_subvoxels=True)
    distance = compute_hausdorff_distance(y_pred, y, percentile=95, spacing=widths)
    return {"surface_dice": float(surface_dice), "hd95": float(distance)}


def _mean(values: list[float]) -> float:
    """nanmean, NaN without a warning where nothing is defined."""
    defined = [value for value in values if not np.isnan(value)]
    return float(np.mean(defined)) if defined else float("nan")
