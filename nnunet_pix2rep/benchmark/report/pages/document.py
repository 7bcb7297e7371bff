"""What the report says and in which order, before it becomes Markdown or HTML."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nnunet_pix2rep.benchmark.report.numbers.analysis import SIGNIFICANCE_LEVEL
from nnunet_pix2rep.benchmark.report.pages import tables
from nnunet_pix2rep.benchmark.report.pages.caveats import caveats
from nnunet_pix2rep.benchmark.report.pages.formatting import (
    effort_name,
    effort_text,
    format_factor,
    format_interval,
    format_number,
)
from nnunet_pix2rep.benchmark.report.pages.full_annotation import (
    full_annotation_table,
    full_annotation_text,
    nearest_to_full,
)
from nnunet_pix2rep.benchmark.report.pages.tables import Table

DRAWS = {
    "patients": "All draws come from one dataset, balanced over its groups of patients; they share no labeled patient "
    "as long as there are enough, and those of one seed are nested.",
    "slices": "All draws come from the slices of one dataset, outside the test patients. A draw is a seed of the "
    "selector, the same for all budgets; where the slices alone decide (middle, typical, coverage, kmeans), it also "
    "leaves out a random fifth of the patients. The methods of a selector, budget and draw share their slices.",
}
FULL_ANNOTATION = (
    "Full annotation is that of the method with the highest Dice on the test patients, which makes shares small rather "
    "than large. Their intervals are of the ratio, over the same resamples."
)
CURVE_FIGURE, PAIRED_FIGURE, PANEL_FIGURE = "dice_curves.png", "paired_patients.png", "qualitative.png"


@dataclass(frozen=True)
class Picture:
    """A figure: its file in the folder of figures, and what it shows."""

    file: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it, in the order of the attributes.

    Attributes:
        title: The heading.
        paragraphs: Text before the rest.
        bullets: A list.
        pictures: Figures.
        tables: Tables, each with its notes.
        listings: Title -> lines of code.
    """

    title: str
    paragraphs: Sequence[str] = ()
    bullets: Sequence[str] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    listings: Mapping[str, Sequence[str]] = field(default_factory=dict)


def build_document(analysis: Mapping[str, Any], pictures: Mapping[str, str]) -> list[Section]:
    """All sections that have something to say.

    Args:
        analysis: See :func:`nnunet_pix2rep.benchmark.report.numbers.analysis.analyze`.
        pictures: Files of the figures that were drawn; for others, why they are left out.
    """
    sections = [
        Section("Summary", [_setup(analysis)], [*_headlines(analysis), *nearest_to_full(analysis)]),
        Section("What to keep in mind", bullets=caveats(analysis)),
        _missing(analysis),
        _dice(analysis, pictures),
        _comparisons(analysis, pictures),
        _full_annotation(analysis),
        _saving(analysis),
        Section("Dice per class", tables=tables.class_tables(analysis)),
        Section("Surface distances", tables=tables.surface_tables(analysis)),
        _panel(pictures),
        Section("How the numbers were made", bullets=_methods(analysis)),
        Section("Runs", ["Every number above comes from these folders."], tables=[tables.run_table(analysis)]),
        Section("Draws", tables=[tables.table_of_draws(analysis)]),
        _circumstances(analysis),
    ]
    return [
        section
        for section in sections
        if section and any((section.paragraphs, section.bullets, section.pictures, section.tables, section.listings))
    ]


def _setup(analysis: Mapping[str, Any]) -> str:
    benchmark, finished = analysis["benchmark"], analysis["completeness"]
    parts = [benchmark["dataset"]]
    parts += [f"{key} {benchmark[key]}" for key in ("configuration", "plans") if benchmark.get(key)]
    return (
        f"{', '.join(parts)}. Methods: {', '.join(analysis['methods'])}. "
        f"{effort_name(analysis['effort']).capitalize()}: {', '.join(map(str, analysis['shots']))}. "
        f"Test patients: {len(analysis['patients'])}. "
        f"Trainings finished: {finished['finished_cells']} of {finished['planned_cells']}."
    )


def _headlines(analysis: Mapping[str, Any]) -> list[str]:
    """One sentence for each method at the fewest labeled patients that it shares with the reference."""
    means = {(row["method"], row["shots"]): row for row in analysis["dice"]}
    savings = {(row["method"], row["shots"]): row for row in analysis["annotation_saving"]}
    shots = min((row["shots"] for row in analysis["comparisons"]), default=None)
    lines = []
    for row in analysis["comparisons"]:
        if row["shots"] != shots:
            continue
        line = (
            f"{row['method']} with {effort_text(shots, analysis['effort'])}: Dice "
            f"{format_number(means[row['method'], shots]['mean'])}, "
            f"{format_interval(row['difference'], row['low'], row['high'], signed=True)} against {row['reference']} "
            f"(Holm p = {row['p_holm']:.2g}, {'' if row['significant'] else 'not '}significant at "
            f"{SIGNIFICANCE_LEVEL:g})"
        )
        saving = savings.get((row["method"], shots))
        if saving is not None:
            line += f"; annotation-saving factor {format_factor(saving['factor'])}"
            if saving["low"] is not None:
                line += f" ({format_factor(saving['low'])} to {format_factor(saving['high'])})"
        lines.append(f"{line}.")
    return lines


def _missing(analysis: Mapping[str, Any]) -> Section:
    completeness = analysis["completeness"]
    bullets = [
        f"{row['method']}, {effort_text(row['shots'], analysis['effort'])}, draw {row['seed']}: {row['status']}"
        for row in completeness["missing"]
    ]
    bullets += [
        f"{row['method']}, {effort_text(row['shots'], analysis['effort'])}, draw {row['seed']} has no complete results "
        f"of {', '.join(row['patients'])}"
        for row in completeness["without_all_patients"]
    ]
    text = (
        "These results are missing. Comparisons use only draws and patients that both methods have; means and saving "
        "factors of incomplete settings are marked."
    )
    return Section("What is missing", [text] if bullets else [], bullets)


def _dice(analysis: Mapping[str, Any], pictures: Mapping[str, str]) -> Section:
    caption = f"Mean Dice against the number of {effort_name(analysis['effort'])}."
    return Section(
        "Dice",
        pictures=[Picture(CURVE_FIGURE, caption)] if CURVE_FIGURE in pictures else [],
        tables=[tables.dice_table(analysis)],
    )


def _comparisons(analysis: Mapping[str, Any], pictures: Mapping[str, str]) -> Section | None:
    if not analysis["comparisons"]:
        return None
    caption = (
        "Every test patient with the reference and with each other method, at the fewest "
        f"{effort_name(analysis['effort'])}."
    )
    return Section(
        f"Against {analysis['settings']['reference']}",
        pictures=[Picture(PAIRED_FIGURE, caption)] if PAIRED_FIGURE in pictures else [],
        tables=[tables.comparison_table(analysis)],
    )


def _full_annotation(analysis: Mapping[str, Any]) -> Section | None:
    if not analysis["full_annotation"]:
        return None
    return Section(
        "Near to full annotation", [full_annotation_text(analysis)], tables=[full_annotation_table(analysis)]
    )


def _saving(analysis: Mapping[str, Any]) -> Section | None:
    if not analysis["annotation_saving"]:
        return None
    reference = analysis["settings"]["reference"]
    effort = analysis["effort"]
    text = (
        f"How many {effort_name(effort)} {reference} needs to reach a method's Dice at N, divided by N. It is read off "
        f"{reference}'s curve, straight lines over the logarithm of the number of {effort}, where the curve first "
        "reaches that Dice. Nothing is extrapolated: > says that it is never reached, < that it is reached with fewer "
        f"{effort} than were tried."
    )
    return Section("Annotation saved", [text], tables=[tables.saving_table(analysis)])


def _panel(pictures: Mapping[str, str]) -> Section | None:
    if PANEL_FIGURE not in pictures:
        return None
    if pictures[PANEL_FIGURE] != PANEL_FIGURE:
        return Section("Best, median and worst patient", [f"Left out: {pictures[PANEL_FIGURE]}."])
    return Section(
        "Best, median and worst patient", pictures=[Picture(PANEL_FIGURE, "One draw, one case per patient.")]
    )


def _methods(analysis: Mapping[str, Any]) -> list[str]:
    settings = analysis["settings"]
    return [
        "Dice in 3D in the original geometry, by nnU-Net's evaluator: per case and class, mean over the classes of a "
        "case, over the cases of a patient, over the draws, over the patients.",
        "Checkpoints are the final ones; the test patients take no part in training or in any choice.",
        f"Intervals: {settings['confidence']:.0%} percentile bootstrap with {settings['num_resamples']} resamples, "
        f"seed {settings['seed']} (scipy.stats.bootstrap). Whole test patients and whole draws are resampled, "
        "independently of each other, since every draw is tested on the same patients. The same resamples serve all "
        "methods.",
        f"Comparisons with {settings['reference']}: differences per test patient, mean over the draws that both have; "
        "two-sided Wilcoxon signed-rank test (scipy.stats.wilcoxon), p-values adjusted by Holm's method (statsmodels) "
        "over all comparisons of the table.",
        *([FULL_ANNOTATION] if analysis["full_annotation"] else []),
        DRAWS[analysis["effort"]],
    ]


def _circumstances(analysis: Mapping[str, Any]) -> Section:
    benchmark = analysis["benchmark"]
    commands = {
        f"{cell['method']}, {effort_text(cell['shots'], analysis['effort'])}, draw {cell['seed']}": cell["commands"]
        for cell in analysis["cells"]
        if cell["commands"]
    }
    return Section(
        "Settings, versions, hardware, commands",
        [f"Test patients: {', '.join(analysis['patients'])}."],
        tables=tables.circumstance_tables(benchmark),
        listings=commands,
    )
