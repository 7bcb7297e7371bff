"""The tables of the report as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_pix2rep.benchmark.report.pages.formatting import (
    effort_name,
    effort_text,
    format_factor,
    format_interval,
    format_number,
    plain_text,
)
from nnunet_pix2rep.benchmark.schema import selector_of

INCOMPLETE_MARK, ONE_DRAW_MARK = "†", "‡"
NOTES = {
    INCOMPLETE_MARK: "draws or patients are missing.",
    ONE_DRAW_MARK: "one draw: the interval covers the test patients only.",
}
SECONDS = {"seconds_pretraining": "pretraining", "seconds_training": "training", "seconds_prediction": "prediction"}
LISTED_ELSEWHERE = ("format_version", "test_patients", "test_cases", "splits", "versions", "hardware", "cells")


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        header: Titles of the columns.
        rows: As long as the header; the first column is text, the others are numbers or short.
        caption: Above the table.
        notes: Below the table.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    notes: Sequence[str] = ()


def _by_shots(
    analysis: Mapping[str, Any],
    rows: Sequence[Mapping[str, Any]],
    text_of: Callable[[Mapping[str, Any]], str],
    caption: str,
) -> Table:
    """Methods down, numbers of labeled patients across."""
    found = {(row["method"], row["shots"]): row for row in rows}
    missing = {
        (row["method"], row["shots"])
        for part in ("missing", "without_all_patients")
        for row in analysis["completeness"][part]
    }
    marks = {
        key: (INCOMPLETE_MARK if key in missing else "")
        + (ONE_DRAW_MARK if row["interval_covers"] == "patients" else "")
        for key, row in found.items()
    }
    lines = [
        [
            method,
            *(
                f"{text_of(found[method, shots])}{marks[method, shots]}" if (method, shots) in found else ""
                for shots in analysis["shots"]
            ),
        ]
        for method in analysis["methods"]
    ]
    used = "".join(marks.values())
    notes = [f"{mark} {text}" for mark, text in NOTES.items() if mark in used]
    return Table(
        ["", *(effort_text(number, analysis["effort"]) for number in analysis["shots"])], lines, caption, notes
    )


def _mean_text(row: Mapping[str, Any], digits: int = 3) -> str:
    return format_interval(row["mean"], row["low"], row["high"], digits)


def dice_table(analysis: Mapping[str, Any]) -> Table:
    """Mean Dice with its interval."""
    return _by_shots(analysis, analysis["dice"], _mean_text, f"Mean Dice ({_confidence(analysis)} interval).")


def class_tables(analysis: Mapping[str, Any]) -> list[Table]:
    """Mean Dice of every class; nothing where there is only one."""
    if len(analysis["classes"]) < 2:
        return []
    return [
        _by_shots(
            analysis,
            [row for row in analysis["dice_per_class"] if row["class"] == name],
            _mean_text,
            f"{name}: mean Dice ({_confidence(analysis)} interval).",
        )
        for name in analysis["classes"]
    ]


def surface_tables(analysis: Mapping[str, Any]) -> list[Table]:
    """Surface Dice and HD95, where they were measured, with the number of values that are undefined."""
    captions = {
        "surface_dice": ("Surface Dice", 3),
        "hd95": ("95th percentile of the Hausdorff distance in mm, lower is better", 2),
    }
    found = []
    for metric, (caption, digits) in captions.items():
        if not analysis[metric]:
            continue

        def text_of(row: Mapping[str, Any], digits: int = digits) -> str:
            undefined = f" [{row['undefined_values']}]" if row["undefined_values"] else ""
            return _mean_text(row, digits) + undefined

        table = _by_shots(analysis, analysis[metric], text_of, f"{caption} ({_confidence(analysis)} interval).")
        note = (
            "[n]: n values (case and class) are undefined and left out, as where nothing was predicted; such failures "
            "do not show in the mean."
        )
        undefined = any(row["undefined_values"] for row in analysis[metric])
        found.append(Table(table.header, table.rows, table.caption, [*table.notes, *([note] if undefined else [])]))
    return found


def comparison_table(analysis: Mapping[str, Any]) -> Table:
    """Paired differences with the reference and their tests."""
    header = [
        "",
        effort_name(analysis["effort"]),
        "draws",
        "test patients",
        "difference in Dice",
        "better / worse",
        "p",
        "p (Holm)",
    ]
    rows = [
        [
            row["method"],
            str(row["shots"]),
            f"{len(row['draws'])}{INCOMPLETE_MARK if row['draws_left_out'] else ''}",
            str(row["num_patients"]),
            format_interval(row["difference"], row["low"], row["high"], signed=True)
            + (ONE_DRAW_MARK if row["interval_covers"] == "patients" else ""),
            f"{row['better']} / {row['worse']}",
            f"{row['p_value']:.2g}",
            f"{row['p_holm']:.2g}{' *' if row['significant'] else ''}",
        ]
        for row in analysis["comparisons"]
    ]
    text = "".join("".join(row) for row in rows)
    notes = (
        [f"{INCOMPLETE_MARK} draws that one of the two does not have are left out."] if INCOMPLETE_MARK in text else []
    )
    notes += [f"{ONE_DRAW_MARK} {NOTES[ONE_DRAW_MARK]}"] if ONE_DRAW_MARK in text else []
    notes.append("* below 0.05 after Holm's correction over all rows.")
    caption = (
        f"Paired over test patients, against {analysis['settings']['reference']} with as many "
        f"{effort_name(analysis['effort'])}."
    )
    return Table(header, rows, caption, notes)


def saving_table(analysis: Mapping[str, Any]) -> Table:
    """Annotation-saving factors."""
    reference = analysis["settings"]["reference"]
    rows = [
        [
            row["method"],
            f"{row['shots']}{INCOMPLETE_MARK if row['provisional'] else ''}",
            format_number(row["dice"]),
            format_factor(row["patients_needed"]),
            format_factor(row["factor"]),
            f"{format_factor(row['low'])} to {format_factor(row['high'])}" if row["low"] is not None else "–",
        ]
        for row in analysis["annotation_saving"]
    ]
    effort = analysis["effort"]
    needed = f"{effort} that {reference} needs"
    header = ["", f"{effort_name(effort)} (N)", "Dice", needed, "factor", _confidence(analysis)]
    provisional = any(row["provisional"] for row in analysis["annotation_saving"])
    notes = (
        [f"{INCOMPLETE_MARK} provisional: draws of the method or of {reference} are missing."] if provisional else []
    )
    curves = {
        ", ".join(f"{format_number(point['dice'])} at {point['shots']}" for point in row["reference_curve"])
        for row in analysis["annotation_saving"]
    }
    if len(curves) == 1:
        notes.append(f"{reference}'s curve: {curves.pop()}.")
    return Table(header, rows, notes=notes)


def run_table(analysis: Mapping[str, Any]) -> Table:
    """Every finished cell with its Dice, its time and its folder."""
    rows = [
        [
            cell["method"],
            str(cell["shots"]),
            str(cell["seed"]),
            format_number(cell["dice"]),
            *(format_number(cell[column], 0) for column in SECONDS),
            cell["run_folder"],
        ]
        for cell in analysis["cells"]
    ]
    header = [
        "",
        effort_name(analysis["effort"]),
        "draw",
        "Dice",
        *(f"{name}, s" for name in SECONDS.values()),
        "run folder",
    ]
    return Table(header, rows)


def table_of_draws(analysis: Mapping[str, Any]) -> Table:
    """Who was labeled in each draw, by selector where there are any."""
    subsets = {
        (selector_of(cell["method"]), cell["shots"], cell["seed"]): cell["labelled_patients"]
        for cell in analysis["cells"]
    }
    rows = [
        [*([selector] if selector else []), str(shots), str(seed), ", ".join(names) or "–"]
        for (selector, shots, seed), names in sorted(subsets.items())
    ]
    columns = [effort_name(analysis["effort"]), "draw", "who"]
    return Table([*(["selector"] if analysis["effort"] == "slices" else []), *columns], rows)


def circumstance_tables(benchmark: Mapping[str, Any]) -> list[Table]:
    """The benchmark's settings, versions and hardware."""
    settings = {key: value for key, value in benchmark.items() if key not in LISTED_ELSEWHERE}
    parts = {"Settings": settings, "Versions": benchmark.get("versions"), "Hardware": benchmark.get("hardware")}
    return [
        Table(["", title.lower()], [[str(key), plain_text(value)] for key, value in content.items()], f"{title}.")
        for title, content in parts.items()
        if content
    ]


def _confidence(analysis: Mapping[str, Any]) -> str:
    return f"{analysis['settings']['confidence']:.0%}"
