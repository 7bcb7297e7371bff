"""The demo's figure: what was annotated, and what the three networks made of it in images of other patients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure, SubFigure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from nnunet_pix2rep.feature_pictures import gray

NUM_ROWS = 3
METHODS = ("scratch", "pix2rep", "suggested")
COLUMNS = (
    "Image",
    "Truth",
    "One patient,\nfrom scratch",
    "One patient,\nPix2Rep",
    "Suggested slices,\nPix2Rep",
    "Learned features\n(PCA)",
)
LABEL_COLORS = ("#56b4e9", "#e69f00", "#d0368a")  # of labels 1, 2, 3; distinct for color-blind readers too
OPACITY = 0.6
PANEL_INCHES = 1.75
DOTS_PER_INCH = 120


@dataclass(frozen=True)
class AnnotatedSlice:
    """A slice that was annotated; both arrays of shape (Y, X).

    Attributes:
        image: Its gray values.
        label: What was drawn.
    """

    image: np.ndarray
    label: np.ndarray


@dataclass(frozen=True)
class Row:
    """One test image of the figure, all arrays of one slice.

    Attributes:
        case: nnU-Net's case identifier.
        segmentations: ``truth`` and then a method each, shape (Y, X).
        image: Shape (Y, X).
        pixel_size: Along y and x, in mm.
        features: Shape (Y', X', channels), on the preprocessed grid.
        features_box: Where the image that was preprocessed lies: first and last row, first and last column.
    """

    case: str
    segmentations: dict[str, np.ndarray]
    image: np.ndarray
    pixel_size: tuple[float, float]
    features: np.ndarray
    features_box: tuple[int, int, int, int]


def choose_cases(results: Mapping[str, Any], number: int = NUM_ROWS) -> list[str]:
    """Evenly spaced from the image that suggested slices and Pix2Rep help most to the one that they help least."""
    scratch, suggested = (results["methods"][name]["cases"] for name in ("scratch", "suggested"))
    ordered = sorted(scratch, key=lambda case: scratch[case] - suggested[case])
    places = np.linspace(0, len(ordered) - 1, min(number, len(ordered))).round().astype(int)
    return [ordered[place] for place in places]


def overlay(image: np.ndarray, segmentation: np.ndarray | None = None) -> np.ndarray:
    """The image in gray between its 1st and 99.5th percentile, with the labels in color; (Y, X, 3) from 0 to 1."""
    colors = np.repeat(gray(image)[..., None], 3, axis=-1)
    if segmentation is not None:
        for label, color in enumerate(LABEL_COLORS, 1):
            where = segmentation == label
            colors[where] = (1 - OPACITY) * colors[where] + OPACITY * np.array(to_rgb(color))
    return colors


def plot_figure(
    annotated: Sequence[Sequence[AnnotatedSlice]],
    rows: Sequence[Row],
    colors: Sequence[np.ndarray],
    results: Mapping[str, Any],
) -> Figure:
    """Draws both sets of annotated slices, and below them the test images.

    Args:
        annotated: The slices of the one patient, and those that were suggested.
        rows: Test images from top to bottom.
        colors: Their features as colors, shape (Y', X', 3).
        results: See :func:`nnunet_pix2rep.demo.results.collect_results`.
    """
    width = PANEL_INCHES * len(COLUMNS) + 0.3
    strip = width / max(map(len, annotated)) + 0.35
    below = PANEL_INCHES * len(rows) + 0.75
    figure = Figure(
        figsize=(width, 2 * strip + below),
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0),
    )
    *strips, grid = figure.subfigures(3, 1, squeeze=False, height_ratios=(strip, strip, below)).ravel()
    number, methods = results["num_slices"], results["methods"]
    titles = (
        f"Annotated: all {number} slices of one random patient",
        f"Annotated with the same effort: {number} slices of {len(methods['suggested']['patients'])} patients, "
        "suggested by nnunet_pix2rep suggest",
    )
    for part, slices, title in zip(strips, annotated, titles, strict=True):
        _plot_strip(part, slices, title, columns=max(map(len, annotated)))
    _plot_rows(grid, rows, colors, results)
    return figure


def _plot_strip(part: SubFigure, slices: Sequence[AnnotatedSlice], title: str, columns: int) -> None:
    part.suptitle(title, fontsize=10, x=0.01, ha="left")
    for axis in part.subplots(1, columns, squeeze=False)[0]:
        axis.set_axis_off()
    for axis, shown in zip(part.axes, slices, strict=False):
        axis.imshow(overlay(shown.image, shown.label), interpolation="nearest")


def _plot_rows(part: SubFigure, rows: Sequence[Row], colors: Sequence[np.ndarray], results: Mapping[str, Any]) -> None:
    axes = part.subplots(len(rows), len(COLUMNS), squeeze=False)
    means = dict(zip(COLUMNS[2:5], (results["methods"][name]["mean_dice"] for name in METHODS), strict=True))
    for axis, title in zip(axes[0], COLUMNS, strict=True):
        mean = f"\nmean Dice {means[title]:.2f}" if title in means else ""
        axis.set_title(f"{title}{mean}", fontsize=10, fontweight="bold" if mean else None)
    for line, row, color in zip(axes, rows, colors, strict=True):
        _plot_row(line, row, color, results)
    colors_of = [Patch(color=LABEL_COLORS[value - 1], label=name) for name, value in results["labels"].items()]
    num_images = len(results["methods"]["suggested"]["cases"])
    part.legend(
        handles=colors_of,
        title=f"{len(rows)} of {num_images} images of {len(results['test_patients'])} other patients, from the largest "
        "gain to the smallest",
        loc="outside lower center",
        ncols=len(colors_of),
        frameon=False,
        fontsize=9,
        title_fontsize=9,
    )


def _plot_row(line: Sequence[Any], row: Row, colors: np.ndarray, results: Mapping[str, Any]) -> None:
    height, width = (length * size for length, size in zip(row.image.shape, row.pixel_size, strict=True))
    pictures = [overlay(row.image), *(overlay(row.image, segmentation) for segmentation in row.segmentations.values())]
    for axis, picture in zip(line, pictures, strict=False):
        axis.imshow(picture, extent=(0, width, height, 0), interpolation="nearest")
    top, bottom, left, right = row.features_box
    y, x = row.pixel_size
    line[-1].imshow(colors, extent=(left * x, right * x, bottom * y, top * y), interpolation="nearest")
    for axis in line:
        axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    line[0].set_ylabel(row.case.replace("_", " "), fontsize=8)
    for axis, name in zip(line[2:5], METHODS, strict=True):
        value = results["methods"][name]["cases"][row.case]
        text = axis.text(0.03, 0.03, f"Dice {value:.2f}", transform=axis.transAxes, color="white", fontsize=8)
        text.set_path_effects([withStroke(linewidth=2, foreground="black")])
