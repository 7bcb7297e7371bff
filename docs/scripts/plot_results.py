"""Draws results.svg and results.png in docs/explanation/pictures, from the tables in docs/benchmarks.

Run it after a new benchmark: ``python docs/scripts/plot_results.py``.
"""

from __future__ import annotations

from statistics import fmean

from drawing import save_drawing
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullLocator
from results_shown import (
    ACDC,
    ACDC_LONGER,
    ALL,
    ALL_OF,
    BUDGET,
    PIX2REP,
    SCHEDULE,
    SPREAD,
    STEPS,
    STOCK,
    SUNNYBROOK,
    WHOLE,
    NotRunError,
    Setting,
    budgets_of,
    full_annotation,
    scores,
    with_steps,
)

from nnunet_pix2rep.benchmark.report.pages.figures import COLORS, REFERENCE_COLOR

METHODS = {STOCK: REFERENCE_COLOR, SCHEDULE: COLORS[0], PIX2REP: COLORS[1]}
SHIFT = {STOCK: 0.93, SCHEDULE: 1.0, PIX2REP: 1.07}
"""Sideways on the logarithmic axis, so that draws do not lie on each other."""
TITLES = {SUNNYBROOK: "Sunnybrook: left ventricle", ACDC: "ACDC: three structures"}
LIMITS = (0.2, 0.98)
A_TWENTIETH = 1 / 20


def draws_of(folder: str, method: str, selector: str, budget: int) -> list[float]:
    """Mean Dice of each draw; none where it was not run."""
    try:
        return scores(folder, method, Setting(selector=selector, budget=budget)).mean(axis=1).tolist()
    except NotRunError:
        return []


def spread_of(folder: str, method: str) -> dict[int, list[float]]:
    """Number of slices that are spread over patients, or of all -> the draws."""
    budgets = [*budgets_of(folder, method, SPREAD), ALL_OF[folder]]
    found = {
        number: draws_of(folder, method, ALL if number == ALL_OF[folder] else SPREAD, number) for number in budgets
    }
    return {number: draws for number, draws in found.items() if draws}


def whole_of(folder: str, method: str) -> list[float]:
    """The draws of whole patients; of the stock trainer on ACDC, which no setting of ours changes, an older table."""
    if (folder, method) == (ACDC, STOCK):
        return [with_steps(ACDC_LONGER, STOCK, STEPS, WHOLE, draws=[draw]) for draw in (0, 1)]
    return draws_of(folder, method, WHOLE, BUDGET)


def describe_results() -> str:
    """Every value that is drawn; the files hold it, so that a test can tell whether they are up to date."""
    values = {
        f"{folder} {method} {number}": draws
        for folder in TITLES
        for method in METHODS
        for number, draws in [*spread_of(folder, method).items(), ("whole", whole_of(folder, method))]
    }
    return "; ".join(f"{name} " + " ".join(f"{dice:.4f}" for dice in draws) for name, draws in values.items())


def label(axis: Axes, place: float, dice: float, *, above: bool = False, color: str = REFERENCE_COLOR) -> None:
    """Writes a value above a point, or left of it."""
    shift, alignment = ((0, 8), "center") if above else ((-9, -3), "right")
    axis.annotate(
        f"{dice:.2f}", (place, dice), shift, textcoords="offset points", ha=alignment, color=color, fontsize=9
    )


def plot_dataset(axis: Axes, folder: str) -> None:
    """Dice over annotated slices, each draw and the means; the same number of slices of whole patients beside them."""
    for method, color in METHODS.items():
        spread, whole = spread_of(folder, method), whole_of(folder, method)
        numbers = [number * SHIFT[method] for number in spread]
        means = list(map(fmean, spread.values()))
        axis.plot(numbers, means, "-o", color=color, ms=6, lw=1.7, zorder=4)
        for number, draws in zip(numbers, spread.values(), strict=True):
            axis.scatter([number] * len(draws), draws, s=14, color=color, alpha=0.4, linewidths=0, zorder=3)
        if whole:
            place = BUDGET * SHIFT[method]
            axis.plot([place], [fmean(whole)], "s", color=color, mfc="white", ms=7, mew=1.7, zorder=4)
            axis.scatter([place] * len(whole), whole, s=14, marker="s", facecolors="none", edgecolors=color, alpha=0.6)
    full = full_annotation(folder)
    label(axis, ALL_OF[folder], full, above=True)
    label(axis, BUDGET * SHIFT[STOCK], fmean(draws_of(folder, SCHEDULE, SPREAD, BUDGET)), color=METHODS[SCHEDULE])
    label(axis, BUDGET * SHIFT[STOCK], fmean(whole_of(folder, STOCK)))
    axis.axhline(full, color="0.45", lw=1, ls="--", zorder=1)
    axis.axvline(ALL_OF[folder] * A_TWENTIETH, color="0.45", lw=1, ls=":", zorder=1)
    ticks = sorted({BUDGET, *spread_of(folder, SCHEDULE)})
    axis.set_xscale("log")
    axis.set_xlim(ticks[0] / 1.7, ticks[-1] * 1.35)
    axis.xaxis.set_major_locator(FixedLocator(ticks))
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set_xticklabels(f"{number:,}" for number in ticks)
    axis.set(ylim=LIMITS, xlabel="annotated slices", ylabel="Dice")
    axis.set_title(TITLES[folder], loc="left", fontsize=11, fontweight="bold")
    axis.grid(axis="y", color="0.9", lw=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_axisbelow(True)


def plot_results() -> Figure:
    """A plot for each dataset and what their colors mean."""
    figure = Figure(figsize=(11.5, 4.3))
    for axis, folder in zip(figure.subplots(1, 2), TITLES, strict=True):
        plot_dataset(axis, folder)
    names = ("nnU-Net's own trainer", "our fine-tuning, random weights", "after Pix2Rep-v2")
    handles = [
        Line2D([], [], color=color, marker="o", ms=6, label=name)
        for name, color in zip(names, METHODS.values(), strict=True)
    ]
    handles += [
        Line2D([], [], color="0.3", marker="o", ms=6, ls="", label="slices of many patients"),
        Line2D(
            [], [], color="0.3", marker="s", mfc="white", mew=1.7, ms=7, ls="", label="slices of one or two patients"
        ),
        Line2D([], [], color="0.45", lw=1, ls="--", label="all slices, the best"),
        Line2D([], [], color="0.45", lw=1, ls=":", label="a twentieth of the slices"),
    ]
    figure.legend(handles=handles, loc="lower center", ncols=4, frameon=False, fontsize=9.5)
    figure.subplots_adjust(left=0.06, right=0.985, top=0.91, bottom=0.27, wspace=0.17)
    return figure


if __name__ == "__main__":
    save_drawing(plot_results(), "results", dots_per_inch=140, fonts_as_paths=True, description=describe_results())
