"""Figures of the report: Dice against labeled patients, and the test patients one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from nnunet_pix2rep.benchmark.report.pages.formatting import effort_name, effort_text, label_of
from nnunet_pix2rep.files import atomic_path

# Okabe and Ito's colors, which the color-blind can tell apart too, but for their yellow, too pale on white.
COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
REFERENCE_COLOR = "#000000"
MARKERS = "sD^vPX"
LINES = ("-", "--", ":")
BETTER_COLOR, WORSE_COLOR, EQUAL_COLOR = "#0072b2", "#d55e00", "#999999"
DODGE = 0.05
"""Between the methods along the axis, in doublings of the number of patients: intervals stand side by side."""
MAX_COLUMNS = 4
NAME_SIZE = 7
"""Font size of the methods below the pairs, in points."""
DOTS_PER_INCH = 150


@dataclass(frozen=True)
class Style:
    """How a method is drawn in all figures."""

    color: str
    marker: str
    line: str


def styles_of(methods: Sequence[str], reference: str) -> dict[str, Style]:
    """The style of every method: the reference in black, beyond six others the line changes too."""
    styles = {reference: Style(REFERENCE_COLOR, "o", "-")}
    for place, method in enumerate(name for name in methods if name != reference):
        turn, color = divmod(place, len(COLORS))
        styles[method] = Style(COLORS[color], MARKERS[place % len(MARKERS)], LINES[turn % len(LINES)])
    return {method: styles[method] for method in methods}


def save_figure(figure: Figure, file: Path) -> None:
    """Writes a PNG file, atomically."""
    with atomic_path(file) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH)


def plot_curves(analysis: Mapping[str, Any]) -> Figure:
    """Mean Dice against the number of labeled patients with its interval, one line per method.

    Args:
        analysis: See :func:`nnunet_pix2rep.benchmark.report.numbers.analysis.analyze`.
    """
    methods, shots = analysis["methods"], analysis["shots"]
    figure = Figure(figsize=(7.6, 4.4), layout="constrained")
    axis = figure.subplots()
    for place, (method, style) in enumerate(styles_of(methods, analysis["settings"]["reference"]).items()):
        rows = [row for row in analysis["dice"] if row["method"] == method and row["mean"] is not None]
        if not rows:
            continue
        shift = 2 ** (DODGE * (place - (len(methods) - 1) / 2))
        numbers = [row["shots"] * shift for row in rows]
        means = [row["mean"] for row in rows]
        axis.plot(
            numbers,
            means,
            style.line,
            color=style.color,
            marker=style.marker,
            ms=5,
            lw=1.6,
            label=label_of(method),
            zorder=3,
        )
        for number, row in zip(numbers, rows, strict=True):
            if row["low"] is not None:
                axis.plot([number] * 2, [row["low"], row["high"]], color=style.color, lw=1.1, alpha=0.7, zorder=2)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_locator(FixedLocator(shots))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticklabels([str(number) for number in shots])
    axis.set(
        xlim=(shots[0] / 1.3, shots[-1] * 1.3),
        xlabel=f"{effort_name(analysis['effort']).capitalize()} (logarithmic)",
        ylabel="Mean Dice",
    )
    axis.grid(axis="y", color="0.9", zorder=0)
    axis.spines[["top", "right"]].set_visible(False)
    # matplotlib takes this place; its type hints do not have it
    figure.legend(loc="outside center right", frameon=False, fontsize=9)  # type: ignore[call-overload]
    axis.set_title(_title(analysis), fontsize=9, loc="left")
    return figure


def _title(analysis: Mapping[str, Any]) -> str:
    confidence = analysis["settings"]["confidence"]
    return (
        f"{analysis['benchmark']['dataset']}: {len(analysis['patients'])} test patients; "
        f"vertical lines: {confidence:.0%} bootstrap intervals"
    )


def plot_paired(analysis: Mapping[str, Any]) -> Figure | None:
    """Every test patient's Dice with the reference and with each other method, at the fewest labeled patients.

    Returns:
        None where no method can be compared with the reference.
    """
    shots = min((row["shots"] for row in analysis["comparisons"]), default=None)
    if shots is None:
        return None
    rows = [row for row in analysis["comparisons"] if row["shots"] == shots]
    lines = -(-len(rows) // MAX_COLUMNS)
    columns = -(-len(rows) // lines)
    figure = Figure(figsize=(max(2.3 * columns + 0.6, 5.4), 3.3 * lines + 0.6), layout="constrained")
    axes = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for axis, row in zip(axes, rows, strict=False):
        _plot_pairs(axis, row, patient_pairs(analysis, row))
    for axis in axes[len(rows) :]:
        axis.set_visible(False)
    for axis in axes[::columns]:
        axis.set_ylabel("Dice of a test patient")
    figure.suptitle(
        f"Test patients one by one, {effort_text(shots, analysis['effort'])} (mean over the draws)\n"
        "blue: better than the reference; orange, dashed: worse; black bars: means",
        fontsize=10,
    )
    return figure


def patient_pairs(analysis: Mapping[str, Any], comparison: Mapping[str, Any]) -> np.ndarray:
    """Dice of the reference and of the method, shape (patients, 2): means over the draws of a comparison."""
    means = []
    for method in (comparison["reference"], comparison["method"]):
        cells = [
            cell["dice_per_patient"]
            for cell in analysis["cells"]
            if (cell["method"], cell["shots"]) == (method, comparison["shots"]) and cell["seed"] in comparison["draws"]
        ]
        means.append([[cell[patient] for patient in analysis["patients"]] for cell in cells])
    values = np.array(means, dtype=float)  # (2, draws, patients); None becomes NaN
    both = np.where(np.isnan(values).any(axis=0), np.nan, values)
    defined = ~np.isnan(both).all(axis=(0, 1))
    return np.nanmean(both[:, :, defined], axis=1).T


def _plot_pairs(axis: Axes, row: Mapping[str, Any], pairs: np.ndarray) -> None:
    for reference, other in pairs:
        if other == reference:
            color, line = EQUAL_COLOR, "-"
        else:
            color, line = (BETTER_COLOR, "-") if other > reference else (WORSE_COLOR, "--")
        axis.plot([0, 1], [reference, other], line, color=color, marker="o", ms=3.5, lw=1, alpha=0.8)
    for place, mean in enumerate(pairs.mean(axis=0)):
        axis.plot([place - 0.13, place + 0.13], [mean] * 2, color="black", lw=2.5, solid_capstyle="butt", zorder=4)
    labels = [label_of(row["reference"]), label_of(row["method"])]
    axis.set(xlim=(-0.3, 1.3), xticks=[0, 1], xticklabels=labels)
    axis.tick_params(axis="x", labelsize=NAME_SIZE)
    below = 1.3 * NAME_SIZE * (labels[0].count("\n") + 1)  # two long names do not fit side by side
    _, right = axis.xaxis.get_major_ticks()
    right.set_pad(rcParams["xtick.major.pad"] + below)
    axis.grid(axis="y", color="0.9")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    ends = "" if row["low"] is None else f" ({row['low']:+.3f} to {row['high']:+.3f})"
    axis.set_title(f"{row['difference']:+.3f}{ends}\nHolm p = {row['p_holm']:.2g}", fontsize=8)
