"""Choosing slices or whole scans with a selector."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from nnunet_pix2rep.annotation.selectors import SELECTORS, SlicePool
from nnunet_pix2rep.annotation.slices import Slice
from nnunet_pix2rep.annotation.suggest.representation import Representation, represent
from nnunet_pix2rep.annotation.suggest.request import SuggestSettings
from nnunet_pix2rep.annotation.suggest.scans import Scan
from nnunet_pix2rep.annotation.work_folder import SuggestedSlice

PIXELS_PER_SCAN = 512


@dataclass(frozen=True)
class Choice:
    """What was chosen from a pool.

    Attributes:
        pool: All slices.
        order: The chosen ones among them, in order of importance.
        entries: The slices to annotate; of whole scans also those that the pool leaves out.
        representation: What they stand for; None without features.
    """

    pool: SlicePool
    order: list[int]
    entries: tuple[SuggestedSlice, ...]
    representation: Representation | None


def choose_slices(scans: Sequence[Scan], pool: SlicePool, slices: Sequence[Slice], settings: SuggestSettings) -> Choice:
    """Chooses as the user asks.

    Args:
        scans: The scans.
        pool: Their slices.
        slices: Which slice each entry of the pool is.
        settings: Selector, budget and seed.
    """
    if settings.unit == "slices":
        order = _select(pool, settings)
        chosen = [slices[index] for index in order]
        last = list(range(1, len(order) + 1))  # how much of the order has been taken with each slice
    else:
        order, chosen, last = _whole_scans(scans, pool, settings)
    representation = None if pool.features is None else represent(pool, order, settings.seed)
    patients = {scan.case: scan.patient for scan in scans}
    curve = None if representation is None else representation.curve
    entries = tuple(
        SuggestedSlice(
            rank,
            item.case,
            patient=patients[item.case],
            index=item.index,
            coverage=None if curve is None else curve[taken],
        )
        for rank, (item, taken) in enumerate(zip(chosen, last, strict=True), start=1)
    )
    return Choice(pool, order, entries, representation)


def pool_of_scans(pool: SlicePool, seed: int) -> SlicePool:
    """A pool with an entry for the free slices of each scan, and one for its annotated slices.

    Args:
        pool: Of slices.
        seed: Of the pixels, of all slices of an entry, that stand for it.
    """
    rows: dict[tuple[str, bool], list[int]] = {}
    for place, (case, annotated) in enumerate(zip(pool.cases, pool.annotated.tolist(), strict=True)):
        rows.setdefault((case, annotated), []).append(place)
    patient_of = dict(zip(pool.cases, pool.patients, strict=True))
    scans = SlicePool(
        patients=tuple(patient_of[case] for case, _ in rows),
        cases=tuple(case for case, _ in rows),
        positions=torch.full((len(rows),), 0.5),
        annotated=torch.tensor([annotated for _, annotated in rows]),
    )
    if pool.features is None:
        return scans
    generator = torch.Generator().manual_seed(seed)
    features, weights = [], []
    for places in rows.values():
        flat = pool.features[places].flatten(0, 1)
        counts = torch.ones(len(flat)) if pool.weights is None else pool.weights[places].flatten()
        order = torch.randperm(len(flat), generator=generator)
        drawn = order.repeat(-(-PIXELS_PER_SCAN // len(order)))[:PIXELS_PER_SCAN]
        features.append(flat[drawn])
        weights.append(counts[drawn])
    return replace(scans, features=torch.stack(features), weights=torch.stack(weights))


def _select(pool: SlicePool, settings: SuggestSettings) -> list[int]:
    return SELECTORS[settings.selector](pool, settings.budget, torch.Generator().manual_seed(settings.seed))


def _whole_scans(
    scans: Sequence[Scan], pool: SlicePool, settings: SuggestSettings
) -> tuple[list[int], list[Slice], list[int]]:
    """What is free of chosen scans: places in the pool, slices, and how many of the former are taken with each."""
    by_case = {scan.case: scan for scan in scans}
    scan_pool = pool_of_scans(pool, settings.seed)
    order, chosen, last = [], [], []
    for place in _select(scan_pool, settings):
        scan = by_case[scan_pool.cases[place]]
        order += [n for n, case in enumerate(pool.cases) if case == scan.case and not pool.annotated[n]]
        wanted = [index for index in range(scan.num_slices) if index not in scan.annotated]
        chosen += [Slice(scan.case, index) for index in wanted]
        last += [len(order)] * len(wanted)
    return order, chosen, last
