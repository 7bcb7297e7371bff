"""Which labeled cardiac phase is end-diastole and which end-systole, from the areas of the cavity."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from nnunet_pix2rep.errors import UserError


def name_phases(areas: Mapping[int, Mapping[int, int]], patient: str, example: Path) -> dict[str, int]:
    """End-diastole is the phase with the larger cavity, summed over the slice positions that both phases have.

    Args:
        areas: phase -> slice position -> area of the cavity in pixels; two phases.
        patient: the patient, for messages.
        example: one of the patient's files, for messages.

    Returns:
        ``ED`` and ``ES`` -> phase.

    Raises:
        UserError: there are not two phases, or both cavities have the same area.
    """
    if len(areas) != 2:
        raise UserError(
            f"{patient} has {len(areas)} labeled phase(s) instead of two (see {example}): is a file missing?"
        )
    common = set.intersection(*(set(slices) for slices in areas.values()))
    totals = {phase: sum(slices[position] for position in common) for phase, slices in areas.items()}
    if len(set(totals.values())) == 1:
        raise UserError(
            f"{patient}: both phases have the same area of the cavity, so it is not clear which is end-diastole "
            f"(see {example})."
        )
    return {"ED": max(totals, key=totals.__getitem__), "ES": min(totals, key=totals.__getitem__)}
