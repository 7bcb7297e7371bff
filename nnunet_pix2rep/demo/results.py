"""Dice of the demo's segmentations, and the table and the sentence that say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from nnunet_pix2rep.annotation.work_folder import Suggestion, read_suggestion
from nnunet_pix2rep.demo.commands import demo_methods
from nnunet_pix2rep.demo.hide_labels import ENDING
from nnunet_pix2rep.demo.settings import DemoFolders
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.patients.patients import PATIENTS_FILE

IGNORE = "ignore"


def collect_results(folders: DemoFolders) -> dict[str, Any]:
    """Compares all predictions of the test images with the truth, and says what was annotated.

    Returns:
        ``labels`` (name -> value), ``num_slices``, ``test_patients`` and ``methods``: for each ``title``, ``patients``
        (those with annotated slices), ``mean_dice``, ``dice_per_class`` and ``cases``. Dice is that of a volume in its
        own geometry, its mean over the classes, then over the images.

    Raises:
        UserError: a file is missing.
    """
    dataset_json = read_json(folders.output / "nnUNet_raw" / folders.dataset / "dataset.json")
    labels = {name: value for name, value in dataset_json["labels"].items() if value != 0 and name != IGNORE}
    patients = read_json(folders.test / PATIENTS_FILE)
    methods, suggestions = {}, []
    for method in demo_methods(folders):
        suggestion = read_suggestion(folders.work(method.root))
        suggestions.append(suggestion)
        dice = _dice_of_cases(folders, folders.prediction(method.name), sorted(patients), labels)
        methods[method.name] = {
            "title": _title(method.name, suggestion),
            "patients": sorted({entry.patient for entry in suggestion.slices}),
        } | _means(dice)
    return {
        "labels": labels,
        "num_slices": len(suggestions[0].slices),
        "test_patients": sorted(set(patients.values())),
        "methods": methods,
    }


def _title(method: str, suggestion: Suggestion) -> str:
    number, num_patients = len(suggestion.slices), len({entry.patient for entry in suggestion.slices})
    if method == "suggested":
        return f"{number} suggested slices ({num_patients} patients), Pix2Rep"
    return f"{number} slices of one patient, {'from scratch' if method == 'scratch' else 'Pix2Rep'}"


def _dice_of_cases(
    folders: DemoFolders, prediction: Path, cases: Sequence[str], labels: Mapping[str, int]
) -> dict[str, dict[str, float]]:
    """Case -> class -> Dice."""
    found = {}
    for case in cases:
        name = f"{case}{ENDING}"
        if not (prediction / name).is_file():
            raise UserError(f"{prediction} has no segmentation of {case}: run the demo again in another folder.")
        truth, segmented = (
            SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(folder / name)))
            for folder in (folders.test / "labels", prediction)
        )
        found[case] = {label: dice(truth == value, segmented == value) for label, value in labels.items()}
    return found


def dice(truth: np.ndarray, prediction: np.ndarray) -> float:
    """Dice of two masks; NaN where both are empty, as in nnU-Net's evaluation."""
    total = int(truth.sum()) + int(prediction.sum())
    return 2 * int((truth & prediction).sum()) / total if total else float("nan")


def _means(per_case: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    cases = {case: float(np.nanmean(list(values.values()))) for case, values in per_case.items()}
    names = next(iter(per_case.values())).keys()
    return {
        "mean_dice": float(np.nanmean(list(cases.values()))),
        "dice_per_class": {name: float(np.nanmean([values[name] for values in per_case.values()])) for name in names},
        "cases": cases,
    }


def format_results(results: Mapping[str, Any]) -> str:
    """The table and the sentence."""
    names = list(results["labels"])
    methods = results["methods"].values()
    width = max(len(method["title"]) for method in methods) + 2
    header = f"{'Dice':<{width}}" + "".join(f"{name:>8}" for name in [*names, "mean"])
    lines = [header, "-" * len(header)]
    for method in methods:
        values = [*(method["dice_per_class"][name] for name in names), method["mean_dice"]]
        lines.append(f"{method['title']:<{width}}" + "".join(f"{value:8.3f}" for value in values))
    return "\n".join([*lines, "", sentence(results)])


def sentence(results: Mapping[str, Any]) -> str:
    """What came out, in one sentence; it says who was better only by the numbers."""
    means = {name: f"{method['mean_dice']:.2f}" for name, method in results["methods"].items()}
    num_images = len(results["methods"]["suggested"]["cases"])
    return (
        f"With {results['num_slices']} annotated slices, suggested ones and Pix2Rep reach a mean Dice of "
        f"{means['suggested']}, one random patient {means['pix2rep']} with Pix2Rep and {means['scratch']} from scratch "
        f"({num_images} images of {len(results['test_patients'])} other patients)."
    )
