"""Selectors that need no features: by chance, or by the position of slices in their scans."""

from __future__ import annotations

import math
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence

import torch

from nnunet_pix2rep.annotation.selectors.pool import SlicePool, free_slices, patients_in_turn

GOLDEN_RATIO = (math.sqrt(5) - 1) / 2


def select_random(pool: SlicePool, budget: int, generator: torch.Generator) -> list[int]:
    """Slices of all patients, each as likely as any other."""
    free = free_slices(pool, budget)
    return free[torch.randperm(len(free), generator=generator)[:budget]].tolist()


def select_random_patients(pool: SlicePool, budget: int, generator: torch.Generator) -> list[int]:
    """Whole scans of one random patient after the other, until the budget is used up; the last may be cut."""
    free_of = _free_by_patient(pool, budget)
    chosen: list[int] = []
    for patient in patients_in_turn(pool, generator):
        chosen += sorted(free_of[patient], key=lambda index: (pool.cases[index], float(pool.positions[index])))
    return chosen[:budget]


def select_fixed_interval(pool: SlicePool, budget: int, generator: torch.Generator) -> list[int]:
    """Every n-th slice of all scans laid end to end, from a random start; in random order."""
    free = free_slices(pool, budget).tolist()
    free.sort(key=lambda index: (pool.patients[index], pool.cases[index], float(pool.positions[index])))
    start = float(torch.rand(1, generator=generator))
    places = [int((number + start) * len(free) / budget) for number in range(budget)]
    return [free[places[place]] for place in torch.randperm(budget, generator=generator).tolist()]


def select_middle(pool: SlicePool, budget: int, generator: torch.Generator) -> list[int]:
    """The slice in the middle of a scan of each patient, then those next to it, patients taking turns."""
    return _in_turns(pool, budget, generator, lambda _turn: 0.5)


def select_one_per_patient(pool: SlicePool, budget: int, generator: torch.Generator) -> list[int]:
    """A slice of each patient, then a second one, and so on, with positions spread evenly over the scans.

    Multiples of the golden ratio, from a random start, spread well however many are taken, so that each list is a part
    of every longer one.
    """
    start = float(torch.rand(1, generator=generator))
    return _in_turns(pool, budget, generator, lambda turn: (start + turn * GOLDEN_RATIO) % 1)


def _in_turns(
    pool: SlicePool, budget: int, generator: torch.Generator, wanted_position: Callable[[int], float]
) -> list[int]:
    """Patients take turns, and so do the scans of each, such as the two phases of a heart.

    Each gives the free slice that is nearest to the position wanted in this turn.
    """
    free_of = _free_by_patient(pool, budget)
    order = patients_in_turn(pool, generator)
    sizes = Counter(pool.cases)
    annotated = Counter(pool.cases[index] for index in pool.annotated.nonzero().flatten().tolist())
    scans_of = {}
    for patient in order:
        places = torch.randperm(len(free_of[patient]), generator=generator).tolist()
        shuffled = [free_of[patient][place] for place in places]
        scans_of[patient] = _scans_in_turn(pool.cases, shuffled, sizes, annotated)
    chosen: list[int] = []
    while len(chosen) < budget:
        for patient in order:
            if scans_of[patient] and len(chosen) < budget:
                wanted = wanted_position(len(chosen))
                scan = scans_of[patient].popleft()
                best = min(scan, key=lambda index: abs(float(pool.positions[index]) - wanted))
                scan.remove(best)
                chosen.append(best)
                if scan:
                    scans_of[patient].append(scan)
    return chosen


def _scans_in_turn(
    cases: Sequence[str], slices: Sequence[int], sizes: Mapping[str, int], annotated: Mapping[str, int]
) -> deque[list[int]]:
    """The slices of a patient by scan: scans with the fewest annotated slices first, else in the order given.

    Scans of a single slice are taken together: they are slices of a volume, whose positions tell them apart, or stand
    for whole scans, of which none comes first.
    """
    slices_of: dict[str | None, list[int]] = {}
    for index in slices:
        case = cases[index]
        slices_of.setdefault(case if sizes[case] > 1 else None, []).append(index)
    in_order = sorted(slices_of, key=lambda case: 0 if case is None else annotated[case])
    return deque(slices_of[case] for case in in_order)


def _free_by_patient(pool: SlicePool, budget: int) -> dict[str, list[int]]:
    found = defaultdict(list)
    for index in free_slices(pool, budget).tolist():
        found[pool.patients[index]].append(index)
    return found
