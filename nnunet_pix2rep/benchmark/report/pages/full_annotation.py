"""How near the methods come to full annotation, as text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnunet_pix2rep.benchmark.report.pages.formatting import effort_name, effort_text, format_number, format_part
from nnunet_pix2rep.benchmark.report.pages.tables import NOTES, ONE_DRAW_MARK, Table


def full_annotation_table(analysis: Mapping[str, Any]) -> Table:
    """Dice as a part of that of full annotation."""
    rows = [
        [
            row["method"],
            str(row["shots"]),
            format_part(row["shots"] / row["full_shots"]),
            str(len(row["draws"])),
            format_number(row["dice"]),
            share_text(row) + (ONE_DRAW_MARK if row["interval_covers"] == "patients" else ""),
        ]
        for row in analysis["full_annotation"]
    ]
    header = ["", effort_name(analysis["effort"]), "of all", "draws", "Dice", "of full annotation's Dice"]
    marked = any(row["interval_covers"] == "patients" for row in analysis["full_annotation"])
    return Table(header, rows, notes=[f"{ONE_DRAW_MARK} {NOTES[ONE_DRAW_MARK]}"] if marked else [])


def share_text(row: Mapping[str, Any]) -> str:
    """The share of full annotation in percent, with its interval."""
    text = format_part(row["share"])
    return text if row["low"] is None else f"{text} ({format_part(row['low'])} to {format_part(row['high'])})"


def nearest_to_full(analysis: Mapping[str, Any]) -> list[str]:
    """For each number of labeled patients or slices, the method that comes nearest to full annotation."""
    lines = []
    for shots in analysis["shots"]:
        rows = [row for row in analysis["full_annotation"] if row["shots"] == shots]
        if rows:
            best = max(rows, key=lambda row: row["share"])
            lines.append(
                f"Nearest to full annotation with {effort_text(shots, analysis['effort'])}, "
                f"{format_part(shots / best['full_shots'])} of {best['full_shots']}: {best['method']}, "
                f"{share_text(best)} of its Dice."
            )
    return lines
