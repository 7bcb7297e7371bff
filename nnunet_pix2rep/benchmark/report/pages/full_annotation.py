"""How near the methods come to full annotation, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunet_pix2rep.benchmark.report.pages.formatting import (
    effort_name,
    effort_text,
    format_number,
    format_part,
    format_share,
)
from nnunet_pix2rep.benchmark.report.pages.tables import INCOMPLETE_MARK, NOTES, ONE_DRAW_MARK, Table


def full_annotation_text(analysis: Mapping[str, Any]) -> str:
    """What everything is measured by."""
    row = analysis["full_annotation"][0]
    draws = f"{len(row['full_draws'])} draw{'s' if len(row['full_draws']) > 1 else ''}"
    return (
        f"Full annotation, all that has labels, is {effort_text(row['full_shots'], analysis['effort'])}. Of the "
        f"methods that were trained so, {row['full_method']} has the highest Dice, "
        f"{format_number(_full_dice(analysis))} ({draws}). All others are measured by it, over the test patients that "
        "both have."
    )


def full_annotation_table(analysis: Mapping[str, Any]) -> Table:
    """Dice as a part of that of full annotation."""
    effort, incomplete = analysis["effort"], _incomplete(analysis)
    rows = []
    for row in analysis["full_annotation"]:
        mark = INCOMPLETE_MARK if _is_incomplete(row, incomplete) else ""
        mark += ONE_DRAW_MARK if row["interval_covers"] == "patients" else ""
        rows.append(
            [
                row["method"],
                str(row["shots"]),
                format_part(row["shots"], row["full_shots"]),
                str(len(row["draws"])),
                format_number(row["dice"]),
                format_number(row["full_dice"]),
                share_text(row) + mark,
            ]
        )
    confidence = f"{analysis['settings']['confidence']:.0%}"
    header = ["", effort_name(effort), "of all", "draws", "Dice", "full annotation", f"share ({confidence} interval)"]
    used = "".join(row[-1] for row in rows)
    return Table(header, rows, notes=[f"{mark} {text}" for mark, text in NOTES.items() if mark in used])


def share_text(row: Mapping[str, Any]) -> str:
    """The share of full annotation in percent, with its interval."""
    text = format_share(row["share"])
    return text if row["low"] is None else f"{text} ({format_share(row['low'])} to {format_share(row['high'])})"


def nearest_to_full(analysis: Mapping[str, Any]) -> list[str]:
    """For each number of labeled patients or slices, the highest share of those with all draws and patients."""
    lines, incomplete = [], _incomplete(analysis)
    for shots in analysis["shots"]:
        rows = [row for row in analysis["full_annotation"] if row["shots"] == shots]
        rows = [row for row in rows if not _is_incomplete(row, incomplete)]
        if rows:
            best = max(rows, key=lambda row: row["share"])
            lines.append(
                f"With {effort_text(shots, analysis['effort'])}, {format_part(shots, best['full_shots'])} of all, at "
                f"most Dice {format_number(best['dice'])}, {share_text(best)} of the "
                f"{format_number(best['full_dice'])} of full annotation: {best['method']}."
            )
    return lines


def _full_dice(analysis: Mapping[str, Any]) -> float | None:
    first = analysis["full_annotation"][0]
    full = (first["full_method"], first["full_shots"])
    return next(row["mean"] for row in analysis["dice"] if (row["method"], row["shots"]) == full)


def _incomplete(analysis: Mapping[str, Any]) -> set[tuple[str, int]]:
    """Methods, with how much is annotated, that lack draws or test patients."""
    parts = ("missing", "without_all_patients")
    return {(row["method"], row["shots"]) for part in parts for row in analysis["completeness"][part]}


def _is_incomplete(row: Mapping[str, Any], incomplete: set[tuple[str, int]]) -> bool:
    return not incomplete.isdisjoint([(row["method"], row["shots"]), (row["full_method"], row["full_shots"])])
