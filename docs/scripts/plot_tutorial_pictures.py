"""Draws the pictures of a tutorial from the folder in which its commands were run.

    python docs/scripts/plot_tutorial_pictures.py FOLDER TRUTH sunnybrook_2d    # or hippocampus_3d

FOLDER holds ``to_annotate``, ``predicted`` and ``nnUNet_raw``, TRUTH the labels of all scans. Writes
``NAME_slices.png``, what was suggested and drawn, and ``NAME_prediction.png``, scans that nobody annotated, from the
best to the worst; prints the mean Dice of all of them. ``NAME_overview.png`` is a screenshot of
``to_annotate/overview.html``, 1000 pixels wide.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import SimpleITK
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from nnunet_pix2rep.annotation.suggest.output.viewers import upright
from nnunet_pix2rep.annotation.work_folder import read_suggestion
from nnunet_pix2rep.demo.figure import overlay
from nnunet_pix2rep.demo.results import dice

TUTORIALS = Path(__file__).resolve().parents[1] / "tutorials"
ENDING = ".nii.gz"
COLUMNS = 10
NUM_CASES = 4
INCHES, DOTS_PER_INCH = 1.1, 110


def read(file: Path) -> np.ndarray:
    """The voxels of a file, (Z, Y, X)."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


def read_slice(file: Path, index: int, along: int) -> np.ndarray:
    """A slice of a file along an axis of its array, turned as radiologists see it."""
    direction = SimpleITK.ReadImage(str(file)).GetDirection()
    return upright(read(file).take(index, along), along, {"sitk_stuff": {"direction": direction}})


def show(axis: Axes, image: np.ndarray, labels: np.ndarray | None, title: str) -> None:
    """A slice with its labels."""
    axis.imshow(overlay(image, labels), interpolation="nearest")
    axis.set_title(title, fontsize=7)


def grid(rows: int, columns: int, inches: float) -> tuple[Figure, np.ndarray]:
    """A figure of panels without axes."""
    figure = Figure(figsize=(columns * inches, rows * (inches + 0.22)), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    return figure, axes


def plot_slices(folder: Path, truth: Path, file: Path) -> None:
    """The suggested slices in order of importance, with what was drawn."""
    suggestion = read_suggestion(folder / "to_annotate")
    figure, axes = grid(-(-len(suggestion.slices) // COLUMNS), COLUMNS, INCHES)
    for axis, entry in zip(axes.flat, suggestion.slices, strict=False):
        image = folder / "to_annotate" / "images" / f"{entry.case}_0000{ENDING}"
        place = entry.index, suggestion.axes[entry.case]
        labels = read_slice(truth / f"{entry.case}{ENDING}", *place)
        show(axis, read_slice(image, *place), labels, f"{entry.case}\nslice {entry.index}")
    figure.savefig(file, dpi=DOTS_PER_INCH)


def plot_predictions(folder: Path, truth: Path, file: Path) -> float:
    """Image, truth and prediction of scans that nobody annotated; returns the mean Dice of all of them.

    A scan's slice across z is the one with most of the truth.
    """
    found = {}
    for prediction in sorted((folder / "predicted").glob(f"*{ENDING}")):
        true, predicted = read(truth / prediction.name), read(prediction)
        values = [dice(true == label, predicted == label) for label in range(1, int(true.max()) + 1)]
        found[prediction.name.removesuffix(ENDING)] = float(np.nanmean(values))
    ordered = sorted(found, key=lambda case: -found[case])
    figure, axes = grid(3, NUM_CASES, 1.9)
    for column, place in enumerate(np.linspace(0, len(ordered) - 1, NUM_CASES).round().astype(int)):
        case = ordered[place]
        index = int((read(truth / f"{case}{ENDING}") > 0).sum(axis=(1, 2)).argmax())
        true, predicted = (read_slice(where / f"{case}{ENDING}", index, 0) for where in (truth, folder / "predicted"))
        image = read_slice(next((folder / "nnUNet_raw").glob(f"*/imagesUn/{case}_0000{ENDING}")), index, 0)
        show(axes[0, column], image, None, f"{case}, slice {index}")
        show(axes[1, column], image, true, "truth")
        show(axes[2, column], image, predicted, f"prediction, Dice {found[case]:.2f}")
    figure.savefig(file, dpi=DOTS_PER_INCH)
    return float(np.mean(list(found.values())))


if __name__ == "__main__":
    work, labels_of_all, name = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    plot_slices(work, labels_of_all, TUTORIALS / f"{name}_slices.png")
    mean = plot_predictions(work, labels_of_all, TUTORIALS / f"{name}_prediction.png")
    print(f"mean Dice {mean:.3f}")
