"""The qualitative panel: best, median and worst test patient, with the truth and what the methods predicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from nnunet_pix2rep.benchmark.report.pages.formatting import effort_text, label_of
from nnunet_pix2rep.benchmark.report.pages.panel_patients import Choice
from nnunet_pix2rep.benchmark.report.reading.results import BenchmarkResults
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.volume_reader import VolumeReader

PREDICTIONS_FOLDER = "predictions"
# Distinct for color-blind readers on gray images; further labels take matplotlib's tab20.
LABEL_COLORS = ("#56b4e9", "#e69f00", "#d0368a", "#f0e442", "#009e73")
OPACITY = 0.5
MARGIN = 0.6
"""Around all segmentations, as part of their extent."""
SMALLEST_PART = 0.35
"""Of the image that is shown at least."""
PANEL_INCHES = 1.9


@dataclass(frozen=True)
class Row:
    """One slice of one case, all arrays of shape (Y, X).

    Attributes:
        title: Which patient it is.
        image: Gray values.
        truth: Labels.
        predictions: Method -> labels.
        dice: Method -> Dice of the case.
        pixel_size: Along y and x, in mm.
    """

    title: str
    image: np.ndarray
    truth: np.ndarray
    predictions: dict[str, np.ndarray]
    dice: dict[str, float]
    pixel_size: tuple[float, float]


def read_rows(benchmark: BenchmarkResults, choice: Choice) -> list[Row]:
    """Reads the slices.

    Raises:
        UserError: ``benchmark.json`` names no images, or a file is missing or damaged.
    """
    folders = {}
    for key in ("images_folder", "labels_folder"):
        if not benchmark.description.get(key):
            raise UserError(f"benchmark.json names no {key}")
        folders[key] = benchmark.folder / benchmark.description[key]
    predictions = {
        cell.method: benchmark.folder / benchmark.finished[cell] / PREDICTIONS_FOLDER for cell in choice.cells
    }
    reader = VolumeReader(_dataset_json([*predictions.values(), *(folder.parent for folder in folders.values())]))
    rows = []
    for title, patient in choice.patients.items():
        case = choice.cases[patient]
        image, spacing = reader.image(folders["images_folder"], case)
        truth = reader.segmentation(folders["labels_folder"], case)
        predicted = {method: reader.segmentation(folder, case) for method, folder in predictions.items()}
        dice = {method: choice.dice[method, case] for method in predicted}
        rows.append(_slice(f"{title}: {case}", image, truth=truth, predictions=predicted, dice=dice, spacing=spacing))
    return rows


def _dataset_json(folders: Sequence[Path]) -> dict[str, Any]:
    """nnU-Net's prediction leaves a copy of ``dataset.json`` beside the predictions."""
    for folder in folders:
        if (folder / "dataset.json").is_file():
            return read_json(folder / "dataset.json")
    raise UserError(f"there is no dataset.json in {' or '.join(map(str, folders))}")


def _slice(
    title: str,
    image: np.ndarray,
    truth: np.ndarray,
    predictions: Mapping[str, np.ndarray],
    dice: dict[str, float],
    spacing: Sequence[float],
) -> Row:
    """The slice with the most labeled pixels, across the axis of the largest spacing; all volumes are (Z, Y, X)."""
    across = int(np.argmax(spacing))
    moved = [np.moveaxis(volume, across, 0) for volume in (image, truth, *predictions.values())]
    labeled = moved[1] > 0
    if not labeled.any():
        labeled = np.any([volume > 0 for volume in moved[2:]], axis=0)
    index = int(labeled.sum(axis=(1, 2)).argmax())
    slices = [volume[index] for volume in moved]
    rows, columns = _window(np.any([labels > 0 for labels in slices[1:]], axis=0))
    picture, labels, *predicted = (volume[rows, columns] for volume in slices)
    row_height, column_width = (length for axis, length in enumerate(spacing) if axis != across)
    return Row(
        title=title,
        image=picture,
        truth=labels,
        predictions=dict(zip(predictions, predicted, strict=True)),
        dice=dice,
        pixel_size=(row_height, column_width),
    )


def _window(labeled: np.ndarray) -> tuple[slice, slice]:
    """The part of an image around all that is labeled in it, the same part of its height and width."""
    if not labeled.any():
        return slice(None), slice(None)
    found = [np.flatnonzero(labeled.any(axis=1 - axis)) for axis in (0, 1)]
    parts = [
        (places[-1] - places[0] + 1) * (1 + MARGIN) / size for places, size in zip(found, labeled.shape, strict=True)
    ]
    part = min(max(*parts, SMALLEST_PART), 1)
    window = []
    for places, size in zip(found, labeled.shape, strict=True):
        length = round(part * size)
        start = min(max(round((places[0] + places[-1] + 1 - length) / 2), 0), size - length)
        window.append(slice(start, start + length))
    return window[0], window[1]


def color_of(label: int) -> tuple[float, float, float]:
    """Red, green and blue of a label, from 0 to 1."""
    if label <= len(LABEL_COLORS):
        return to_rgb(LABEL_COLORS[label - 1])
    return to_rgb(colormaps["tab20"]((label - len(LABEL_COLORS) - 1) % 20))


def overlay(image: np.ndarray, segmentation: np.ndarray | None = None) -> np.ndarray:
    """The image in gray between its 1st and 99.5th percentile, with the labels in color; (Y, X, 3) from 0 to 1."""
    low, high = np.percentile(image, (1, 99.5))
    colors = np.repeat(np.clip((image - low) / max(high - low, 1e-6), 0, 1)[..., None], 3, axis=-1)
    for label in np.unique(segmentation[segmentation > 0]) if segmentation is not None else ():
        where = segmentation == label
        colors[where] = (1 - OPACITY) * colors[where] + OPACITY * np.array(color_of(int(label)))
    return colors


def plot_panel(rows: Sequence[Row], choice: Choice, labels: Mapping[str, str]) -> Figure:
    """Draws the patients from best to worst: image, truth, and each method's prediction with the truth's outline.

    Args:
        rows: See :func:`read_rows`.
        choice: See :func:`nnunet_pix2rep.benchmark.report.pages.panel_patients.choose_patients`.
        labels: Label, as text, -> its name.
    """
    titles = ["Image", "Truth", *(label_of(cell.method) for cell in choice.cells)]
    heights = [row.image.shape[0] * row.pixel_size[0] / (row.image.shape[1] * row.pixel_size[1]) for row in rows]
    size = (PANEL_INCHES * len(titles) + 0.4, PANEL_INCHES * sum(heights) + 1.1)
    figure = Figure(figsize=size, layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0))
    axes = figure.subplots(len(rows), len(titles), squeeze=False, height_ratios=heights)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    for line, row in zip(axes, rows, strict=True):
        _plot_row(line, row)
    handles = [Patch(color=color_of(int(label)), label=name) for label, name in labels.items() if label.isdigit()]
    if handles:
        figure.legend(
            handles=handles, loc="outside lower center", ncols=min(len(handles), 6), frameon=False, fontsize=9
        )
    shots, seed = choice.cells[0][1:]
    figure.suptitle(
        f"{effort_text(shots, choice.effort)}, draw {seed}; patients ranked by the mean Dice of all "
        "methods shown;\nwhite outline: truth",
        fontsize=9,
    )
    return figure


def _plot_row(line: Sequence[Axes], row: Row) -> None:
    height, width = (length * size for length, size in zip(row.image.shape, row.pixel_size, strict=True))
    segmentations = [None, row.truth, *row.predictions.values()]
    for axis, segmentation in zip(line, segmentations, strict=True):
        axis.imshow(overlay(row.image, segmentation), extent=(0, width, height, 0), interpolation="nearest")
        axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    y, x = ((np.arange(length) + 0.5) * size for length, size in zip(row.image.shape, row.pixel_size, strict=True))
    for axis, dice in zip(line[2:], row.dice.values(), strict=True):
        for label in np.unique(row.truth[row.truth > 0]):
            axis.contour(x, y, row.truth == label, levels=[0.5], colors="white", linewidths=0.8)
        text = axis.text(0.03, 0.03, f"Dice {dice:.2f}", transform=axis.transAxes, color="white", fontsize=8)
        text.set_path_effects([withStroke(linewidth=2, foreground="black")])
    line[0].set_ylabel(row.title, fontsize=8)
