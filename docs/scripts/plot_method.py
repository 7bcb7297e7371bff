"""Draws method.svg and method.png in docs/explanation/pictures: the method, on a slice of the demo's synthetic heart.

Views and paired points come from the package's own code. Run it after a change of the method:
``python docs/scripts/plot_method.py``.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from drawing import save_drawing
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from nnunet_pix2rep.config import ViewsConfig
from nnunet_pix2rep.demo.figure import LABEL_COLORS
from nnunet_pix2rep.demo.phantom import make_frame
from nnunet_pix2rep.geometry.grids import TransformRanges
from nnunet_pix2rep.views import ViewMaker, ViewPair

WIDTH, HEIGHT = 16.0, 8.47
INK, PALE_INK = "#22303c", "#5b6b78"
PRETRAINING, TRAINING = "#e9f1f8", "#f4f1e8"
NETWORK, NETWORK_EDGE = "#4f86b0", "#27506f"
POINT_COLORS = ("#e69f00", "#d0368a", "#009e73", "#56b4e9", "#d55e00")
PATIENT, PHASE, VIEW_SIZE, SEED = 3, "ED", 80, 1
OTHER_PATIENTS = (2, 7, 4)
RANGES = TransformRanges(
    rotation=(-1.0, 1.0), zoom=(0.7, 1.0), translation=0.05, elastic_probability=1.0, elastic_amplitudes=(0.04, 0.02)
)
PLACES = ((-0.02, -0.2), (0.3, 0.12), (0.05, 0.02), (-0.45, 0.7), (-0.42, -0.12))
"""Where in view 1, about, the shown pairs lie: normalized (x, y)."""
NUM_FEATURES = 12
IMAGE = 1.5  # width of most pictures


class Slice(NamedTuple):
    """A slice of the phantom: image and label, both of shape (rows, columns)."""

    image: np.ndarray
    label: np.ndarray


def middle_slice(patient: int) -> Slice:
    """The slice in the middle of a patient of the demo's default seed."""
    image, label, _ = make_frame(0, patient, PHASE)
    return Slice(image[len(image) // 2], label[len(label) // 2])


def make_views(image: np.ndarray) -> tuple[ViewPair, list[int]]:
    """Two views of the slice, as a pretraining sees them, and the pairs of points to show."""
    np.random.seed(SEED)  # batchgeneratorsv2 draws from the global generators
    torch.manual_seed(SEED)
    context = torch.from_numpy((image - image.mean()) / image.std())[None]
    maker = ViewMaker((VIEW_SIZE, VIEW_SIZE), RANGES, ViewsConfig(multiscale_probability=0.0), 3000)
    views = maker(context, (0, 0), image.shape, np.random.default_rng(SEED))
    seen = (views.points_1.abs().amax(1) < 0.87) & (views.points_2.abs().amax(1) < 0.87)
    distances = torch.cdist(torch.tensor(PLACES), views.points_1) + 10 * ~seen
    return views, distances.argmin(1).tolist()


class Drawing:
    """An axis in units of its own, and what is drawn on it more than once."""

    def __init__(self, axis: Axes):
        self.axis = axis

    def text(self, x: float, y: float, text: str, size: float = 11.0, **options: object) -> None:
        """Centered text."""
        settings: dict = {"ha": "center", "va": "center", "color": INK, "linespacing": 1.3} | options
        self.axis.text(x, y, text, fontsize=size, **settings)

    def arrow(
        self, start: tuple[float, float], stop: tuple[float, float], bend: float = 0.0, width: float = 1.6
    ) -> None:
        """An arrow between two points."""
        style = f"arc3,rad={bend}"
        self.axis.add_patch(
            FancyArrowPatch(
                start, stop, arrowstyle="-|>", mutation_scale=15, lw=width, color=PALE_INK, connectionstyle=style
            )
        )

    def band(self, bottom: float, height: float, color: str, title: str) -> None:
        """A room across the whole width with a title in its upper left corner."""
        self.axis.add_patch(
            FancyBboxPatch((0.15, bottom), WIDTH - 0.3, height, "round,pad=0,rounding_size=0.2", fc=color, ec="none")
        )
        self.text(0.45, bottom + height - 0.36, title, 12.5, ha="left", fontweight="bold")

    def box(self, place: tuple[float, float], size: tuple[float, float], color: str, edge: str) -> None:
        """A box with round corners."""
        style = "round,pad=0,rounding_size=0.05"
        self.axis.add_patch(FancyBboxPatch(place, *size, style, fc=color, ec=edge, lw=1, zorder=2))

    def picture(self, left: float, bottom: float, image: np.ndarray, size: float = IMAGE, edge: str = "white") -> None:
        """A gray picture in a thin frame, over those drawn before."""
        extent = (left, left + size, bottom, bottom + size)
        low, high = np.percentile(image, (0.5, 99.5))
        self.axis.imshow(image, cmap="gray", vmin=low, vmax=high, extent=extent, zorder=3, interpolation="bicubic")
        self.axis.add_patch(Rectangle((left, bottom), size, size, fill=False, ec=edge, lw=2, zorder=3))

    def outline(self, left: float, bottom: float, label: np.ndarray, filled: bool, size: float = IMAGE) -> None:
        """The structures of a label over a picture: as lines, or filled."""
        rows, columns = label.shape
        x = left + (np.arange(columns) + 0.5) * size / columns
        y = bottom + size - (np.arange(rows) + 0.5) * size / rows
        for value, color in enumerate(LABEL_COLORS, start=1):
            mask = (label == value).astype(float)
            if filled:
                self.axis.contourf(x, y, mask, levels=(0.5, 1.5), colors=[color], alpha=0.6, zorder=4)
            self.axis.contour(x, y, mask, levels=(0.5,), colors=[color], linewidths=1.6, zorder=4)

    def points(self, left: float, bottom: float, points: np.ndarray) -> None:
        """Colored rings at normalized points (m, 2) of a picture."""
        x = left + (points[:, 0] + 1) / 2 * IMAGE
        y = bottom + (1 - points[:, 1]) / 2 * IMAGE
        self.axis.scatter(x, y, s=52, c=POINT_COLORS, edgecolors="white", linewidths=1.3, zorder=5)

    def network(self, middle_x: float, middle_y: float, head: str) -> None:
        """A U-Net: four stages down and three up, their skip connections, and the layer on top."""
        heights, width, step = (1.3, 0.92, 0.6, 0.36), 0.24, 0.48
        top = middle_y + 0.9
        offsets = [0.42 * (stage - 3) for stage in range(7)]
        for stage in range(3):
            ends, y = (middle_x + offsets[stage], middle_x + offsets[6 - stage]), top - 0.24 - step * stage
            self.axis.plot(ends, (y, y), ":", color=NETWORK_EDGE, lw=1.3, zorder=1)
        for offset, stage in zip(offsets, (0, 1, 2, 3, 2, 1, 0), strict=True):
            place = (middle_x + offset - width / 2, top - step * stage - heights[stage])
            self.box(place, (width, heights[stage]), NETWORK, NETWORK_EDGE)
        self.box((middle_x + 1.52, top - heights[0]), (0.14, heights[0]), head, INK)

    def features(self, left: float, top: float, noise_seed: int) -> float:
        """A matrix with a row for each pair, and the height of a row; both matrices of a pair are nearly equal."""
        shared = np.random.default_rng(0).random((len(POINT_COLORS), NUM_FEATURES))
        values = shared + np.random.default_rng(noise_seed).normal(0, 0.08, shared.shape)
        cell, row_height = 0.125, 0.42
        for row, color in enumerate(POINT_COLORS):
            y = top - row * row_height
            for column, value in enumerate(np.clip(values[row], 0.08, 1.0)):
                self.axis.add_patch(
                    Rectangle((left + column * cell, y - 0.27), cell, 0.27, fc=color, alpha=value, ec="none", zorder=3)
                )
            self.axis.add_patch(
                Rectangle((left, y - 0.27), NUM_FEATURES * cell, 0.27, fill=False, ec=color, lw=1.2, zorder=4)
            )
        return row_height


def draw_pretraining(drawing: Drawing, bottom: float, scan: Slice) -> None:
    """The upper room: from a patch to the loss."""
    drawing.band(bottom, 4.9, PRETRAINING, "1   Pretraining on all scans, without labels")
    views, shown = make_views(scan.image)
    middle = bottom + 2.05
    margin = [(length - VIEW_SIZE) // 2 for length in scan.image.shape]
    patch = scan.image[margin[0] : margin[0] + VIEW_SIZE, margin[1] : margin[1] + VIEW_SIZE]
    drawing.picture(0.55, middle - IMAGE / 2, patch)
    drawing.text(0.55 + IMAGE / 2, middle - 1.05, "a patch")
    left, lower, upper = 3.3, middle - 1.6, middle + 0.28
    for place, view, points in ((upper, views.view_1, views.points_1), (lower, views.view_2, views.points_2)):
        drawing.picture(left, place, view[0].numpy())
        drawing.points(left, place, points[shown].numpy())
        drawing.arrow((2.15, middle), (left - 0.1, place + IMAGE / 2))
        bend = 0.12 if place == upper else -0.12
        drawing.arrow((left + IMAGE + 0.1, place + IMAGE / 2), (6.15, middle + (0.12 if bend > 0 else -0.12)), -bend)
    drawing.text(left + IMAGE / 2, upper + IMAGE + 0.22, "view 1: new intensities")
    drawing.text(left + IMAGE / 2, lower - 0.22, "view 2: and new geometry")
    drawing.network(7.75, middle, "#8fbf8f")
    drawing.text(7.75, middle + 1.3, "the U-Net that nnU-Net planned")
    drawing.text(7.75, middle - 1.45, "encoder and decoder learn", color=PALE_INK)
    first, second, top = 10.35, 12.5, middle + 1.0
    row_height = drawing.features(first, top, 1)
    drawing.features(second, top, 2)
    drawing.arrow((9.55, middle + 0.05), (first - 0.12, middle + 0.05))
    for row, color in enumerate(POINT_COLORS):
        y = top - row * row_height - 0.135
        drawing.axis.plot((first + 1.55, second - 0.05), (y, y), color=color, lw=2.2, zorder=3)
    drawing.text((first + second + 1.5) / 2, middle + 1.3, "the same pixel, the same features")
    drawing.text(first + 0.75, middle - 1.3, "view 1", color=PALE_INK)
    drawing.text(second + 0.75, middle - 1.3, "view 2", color=PALE_INK)
    drawing.arrow((second + 1.62, middle + 0.05), (14.62, middle + 0.05))
    drawing.text(15.15, middle + 0.05, "loss", 13, fontweight="bold")
    drawing.text(15.1, middle - 0.85, "InfoNCE,\nBarlow Twins\nor VICReg", 10, color=PALE_INK)


def draw_training(drawing: Drawing, bottom: float, scan: Slice) -> None:
    """The lower room: which slices, labels, nnU-Net's own training and prediction."""
    drawing.band(bottom, 3.15, TRAINING, "2   A few annotated slices, then nnU-Net")
    low = bottom + 0.8
    for place, patient in enumerate(OTHER_PATIENTS):
        edge = POINT_COLORS[0] if place == len(OTHER_PATIENTS) - 1 else "white"
        drawing.picture(0.45 + 0.2 * place, low + 0.16 - 0.08 * place, middle_slice(patient).image, 1.36, edge)
    drawing.text(0.45 + 0.9, low - 0.42, "slices of many scans")
    drawing.arrow((2.35, low + 0.75), (3.2, low + 0.75))
    chosen = middle_slice(OTHER_PATIENTS[-1])
    drawing.picture(3.3, low, chosen.image)
    drawing.outline(3.3, low, chosen.label, filled=False)
    drawing.text(3.3 + IMAGE / 2, low - 0.42, "drawn by you")
    drawing.arrow((4.9, low + 0.75), (6.15, low + 0.75))
    drawing.network(7.75, low + 0.87, LABEL_COLORS[2])
    drawing.text(7.75, low - 0.42, "fine-tuning on the drawn slices")
    drawing.arrow((9.55, low + 0.75), (10.25, low + 0.75))
    drawing.picture(10.35, low, scan.image)
    drawing.outline(10.35, low, scan.label, filled=True)
    drawing.text(10.35 + IMAGE / 2, low - 0.42, "nnUNetv2_predict")
    notes = "same network, same names:\nprediction is plain nnU-Net,\non machines without\nthis package, too"
    drawing.text(12.35, low + 0.72, notes, ha="left", color=PALE_INK)


def plot_method() -> Figure:
    """Both rooms, and the weights that go from the upper to the lower one."""
    figure = Figure(figsize=(WIDTH * 0.75, HEIGHT * 0.75))
    axis = figure.add_axes((0, 0, 1, 1))
    drawing, scan = Drawing(axis), middle_slice(PATIENT)
    draw_pretraining(drawing, 3.42, scan)
    draw_training(drawing, 0.15, scan)
    drawing.arrow((7.75, 3.78), (7.75, 2.98), width=2.6)
    drawing.text(7.95, 3.36, "weights", ha="left", fontweight="bold")
    axis.set(xlim=(0, WIDTH), ylim=(0, HEIGHT), aspect="equal")
    axis.axis("off")
    return figure


if __name__ == "__main__":
    save_drawing(plot_method(), "method", dots_per_inch=140, fonts_as_paths=True)
