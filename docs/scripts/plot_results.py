"""Draws results.svg and results.png in docs/explanation/pictures, from the tables in docs/benchmarks.

Run it after a new benchmark: ``python docs/scripts/plot_results.py``.
"""

from __future__ import annotations

from drawing import save_drawing
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator
from results_shown import (
    BUDGET,
    LONGER,
    PATIENTS,
    PIX2REP,
    RANDOM,
    SCHEDULE,
    SLICES,
    SLICES_OF_A_PATIENT,
    SPREAD,
    STOCK,
    WHOLE,
    Setting,
    budgets_of,
    mean_dice,
    scores,
)

from nnunet_pix2rep.benchmark.report.pages.figures import COLORS, REFERENCE_COLOR

BLUE, ORANGE = COLORS[:2]
CHOICES = {
    WHOLE: "one or two whole patients",
    RANDOM: "random slices of all patients",
    SPREAD: "a slice of each patient",
}
SHOTS = (1, 2, 5, 20)
LINES = (
    (STOCK, PATIENTS, SHOTS, REFERENCE_COLOR, "-o"),
    (SCHEDULE, PATIENTS, SHOTS, BLUE, "-o"),
    (PIX2REP, PATIENTS, SHOTS, ORANGE, "-o"),
    (PIX2REP, LONGER, (1, 5, 20), ORANGE, "--D"),
)
LIMITS = (0.3, 0.95)
GRID = {"color": "0.88", "lw": 0.8}


def draws_of(method: str, selector: str) -> list[float]:
    """Mean Dice of each draw of slices."""
    return scores(SLICES, method, Setting(selector=selector)).mean(axis=1).tolist()


def describe_results() -> str:
    """Every value that is drawn; the files hold it, so that a test can tell whether they are up to date."""
    slices = [
        f"{method} {selector} " + " ".join(f"{dice:.4f}" for dice in draws_of(method, selector))
        for selector in CHOICES
        for method in (SCHEDULE, PIX2REP)
    ]
    patients = [
        f"{folder} {method} {number} {mean_dice(folder, method, Setting(number)):.4f}"
        for method, folder, shots, *_ in LINES
        for number in shots
    ]
    spread = [
        f"{method} {budget} slices {mean_dice(SLICES, method, Setting(selector=SPREAD, budget=budget)):.4f}"
        for method in (SCHEDULE, PIX2REP)
        for budget in budgets_of(SLICES, method, SPREAD)
    ]
    return "; ".join([*slices, *patients, *spread])


def plot_slices(axis: Axes) -> None:
    """The same number of annotated slices, chosen in three ways: every draw, and the mean of the draws."""
    for place, selector in enumerate(CHOICES):
        for method, color, shift, text in ((SCHEDULE, BLUE, 0.13, 9), (PIX2REP, ORANGE, -0.13, -16)):
            draws, y = draws_of(method, selector), -place + shift
            axis.scatter(draws, [y] * len(draws), s=22, color=color, alpha=0.45, linewidths=0, zorder=3)
            mean = sum(draws) / len(draws)
            axis.plot((mean, mean), (y - 0.11, y + 0.11), color=color, lw=3, solid_capstyle="butt", zorder=4)
            axis.annotate(
                f"{mean:.2f}", (mean, y), (0, text), textcoords="offset points", ha="center", color=color, fontsize=8.5
            )
    axis.set_yticks([-place for place in range(len(CHOICES))], list(CHOICES.values()))
    axis.set(xlim=LIMITS, ylim=(-len(CHOICES) + 0.5, 0.55), xlabel="Dice")
    axis.set_title(f"{BUDGET} annotated slices: where they lie matters", loc="left", fontsize=11, fontweight="bold")
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", **GRID)


def plot_effort(axis: Axes) -> None:
    """Mean Dice over annotated slices: whole patients, and a slice of each patient."""
    for method, folder, shots, color, line in LINES:
        means = [mean_dice(folder, method, Setting(number)) for number in shots]
        slices = [number * SLICES_OF_A_PATIENT for number in shots]
        axis.plot(slices, means, line, color=color, ms=4.5, lw=1.7, zorder=3, mfc="white" if line == "--D" else color)
    for method, color in ((SCHEDULE, BLUE), (PIX2REP, ORANGE)):
        budgets = budgets_of(SLICES, method, SPREAD)
        means = [mean_dice(SLICES, method, Setting(selector=SPREAD, budget=budget)) for budget in budgets]
        axis.plot(budgets, means, "-*", color=color, ms=11, lw=1.7, zorder=4)
    axis.set_xscale("log")
    ticks = (6, 18, 36, 85, 337)
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticklabels(str(number) for number in ticks)
    axis.set(ylim=LIMITS, xlabel="annotated slices (a patient has 17)", ylabel="Dice")
    axis.set_title("Dice over annotated slices", loc="left", fontsize=11, fontweight="bold")
    axis.grid(axis="y", **GRID)


def plot_results() -> Figure:
    """Both plots and what their colors mean."""
    figure = Figure(figsize=(11.5, 4.1))
    left, right = figure.subplots(1, 2, gridspec_kw={"width_ratios": (1.25, 1)})
    plot_slices(left)
    plot_effort(right)
    for axis in (left, right):
        axis.spines[["top", "right"]].set_visible(False)
        axis.set_axisbelow(True)
    left.spines["left"].set_visible(False)
    handles = [
        Line2D([], [], color=REFERENCE_COLOR, marker="o", ms=4.5, label="nnU-Net's own trainer"),
        Line2D([], [], color=BLUE, marker="o", ms=4.5, label="our fine-tuning, random weights"),
        Line2D([], [], color=ORANGE, marker="o", ms=4.5, label="after Pix2Rep-v2"),
        Line2D(
            [], [], color=ORANGE, marker="D", mfc="white", ls="--", ms=4.5, label="after four times the pretraining"
        ),
    ]
    handles.insert(3, Line2D([], [], color="0.3", marker="*", ms=9, ls="", label="a slice of each patient"))
    figure.legend(handles=handles, loc="lower center", ncols=5, frameon=False, fontsize=9.5)
    figure.subplots_adjust(left=0.185, right=0.985, top=0.91, bottom=0.22, wspace=0.2)
    return figure


if __name__ == "__main__":
    save_drawing(plot_results(), "results", dots_per_inch=140, fonts_as_paths=True, description=describe_results())
