"""Dice of the demo's two segmentations, from the summaries that nnU-Net's validation wrote."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.patients.split_files import read_recorded_folds

TITLES = {"scratch": "from scratch", "pix2rep": "Pix2Rep"}


def collect_results(result_folders: Mapping[str, Path], preprocessed: Path) -> dict[str, Any]:
    """Reads both validation summaries (3D Dice in the geometry of the images) and who was labeled.

    Args:
        result_folders: nnU-Net's folders of the fold, of ``scratch`` and ``pix2rep``.
        preprocessed: The dataset's folder in ``nnUNet_preprocessed``.

    Returns:
        For each of the two ``mean_dice``, ``dice_per_class`` and ``cases``; the labels, the labeled and the validation
        patients.

    Raises:
        UserError: a file is missing.
    """
    labels = {name: label for name, label in read_json(preprocessed / "dataset.json")["labels"].items() if label != 0}
    fold = read_recorded_folds(preprocessed)[0]
    return {name: _read_dice(result_folders[name] / "validation" / "summary.json", labels) for name in TITLES} | {
        "labels": labels,
        "labelled_patient": ", ".join(fold.train_patients),
        "validation_patients": list(fold.validation_patients),
    }


def _read_dice(summary_file: Path, labels: Mapping[str, int]) -> dict[str, Any]:
    """Mean over the classes of each case, then over the cases."""
    per_case = {
        Path(case["reference_file"]).name.split(".")[0]: {
            name: float(case["metrics"][str(label)]["Dice"]) for name, label in labels.items()
        }
        for case in read_json(summary_file)["metric_per_case"]
    }
    # nnU-Net's Dice is NaN where a class is neither there nor predicted.
    cases = {case: float(np.nanmean(list(dice.values()))) for case, dice in sorted(per_case.items())}
    return {
        "mean_dice": float(np.nanmean(list(cases.values()))),
        "dice_per_class": {name: float(np.nanmean([dice[name] for dice in per_case.values()])) for name in labels},
        "cases": cases,
    }


def format_table(summary: Mapping[str, Any]) -> str:
    """The results as text."""
    names = list(summary["labels"])
    header = f"{'Dice':<14}" + "".join(f"{name:>9}" for name in [*names, "mean"])
    lines = [header, "-" * len(header)]
    values = {
        name: [*(summary[name]["dice_per_class"][label] for label in names), summary[name]["mean_dice"]]
        for name in TITLES
    }
    lines += [f"{TITLES[name]:<14}" + "".join(f"{dice:9.3f}" for dice in values[name]) for name in TITLES]
    differences = np.subtract(values["pix2rep"], values["scratch"])
    lines.append(f"{'difference':<14}" + "".join(f"{difference:+9.3f}" for difference in differences))
    scratch, pix2rep = summary["scratch"]["cases"], summary["pix2rep"]["cases"]
    better = sum(pix2rep[case] > scratch[case] for case in scratch)
    lines += [
        "",
        f"One labeled patient ({summary['labelled_patient']}); mean over {len(scratch)} images of "
        f"{len(summary['validation_patients'])} validation patients.",
        f"Pix2Rep is better in {better} of {len(scratch)} images.",
    ]
    return "\n".join(lines)
