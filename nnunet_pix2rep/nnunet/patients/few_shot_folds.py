"""Folds of patients: few-shot subsets with one fixed validation set, and patient-level cross-validation.

Pure functions; :mod:`nnunet_pix2rep.nnunet.patients.split_files` writes their result for nnU-Net. The protocol:

- A shot is a patient with all cases, never a slice or a frame.
- All folds share one validation set, drawn from every group in proportion to its size.
- The folds come by ascending number of shots and, within that, by seed: fold = index of shots * seeds + seed. "all"
  comes last, with one fold, since its subset is the same for every seed.
- Every seed puts the remaining patients into one order; a subset is a beginning of it. So the subsets of one seed are
  nested, and adding shots or seeds changes no existing subset (but the number of its fold).
- Groups take turns in that order: until a group is used up, no two groups differ by more than one patient.
- The seeds start with the groups in turn, and patients who came late for the earlier seeds come early for the next, so
  that subsets of different seeds overlap little.
- Where patients are named, nothing is drawn: training patients come in the order of their names as given, which is the
  only order, and validation patients are those who are named.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from nnunetv2.utilities.crossval_split import generate_crossval_split

from nnunet_pix2rep.config.seeds import check_seed
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.patients.named_patients import (
    TRAIN_OPTION,
    VALIDATION_OPTION,
    check_named,
    order_of_named,
)
from nnunet_pix2rep.nnunet.patients.patients import Patient, cases_by_patient, patients_by_group

Shots = int | Literal["all"]
DEFAULT_SEEDS = 3
DEFAULT_VALIDATION = 0.3
# nnU-Net's seed: with a patient per case, cross-validation then equals nnU-Net's own default split.
DEFAULT_SEED = 12345


@dataclass(frozen=True)
class PatientFold:
    """One entry of ``splits_final.json`` and the patients behind it; all names are sorted.

    Attributes:
        fold: Its index in ``splits_final.json``.
        train_patients: Patients to train on.
        validation_patients: Patients to validate on, none of whom is in training.
        train_cases: All cases of ``train_patients``.
        validation_cases: All cases of ``validation_patients``.
    """

    fold: int
    train_patients: tuple[str, ...]
    validation_patients: tuple[str, ...]
    train_cases: tuple[str, ...]
    validation_cases: tuple[str, ...]

    def to_split(self) -> dict[str, list[str]]:
        """The entry as nnU-Net reads it."""
        return {"train": list(self.train_cases), "val": list(self.validation_cases)}


@dataclass(frozen=True)
class FewShotFold(PatientFold):
    """A fold with few training patients.

    Attributes:
        shots: Number of training patients, or ``"all"`` who are not in validation.
        seed: Which of the random subsets this is, counted from 0.
    """

    shots: Shots
    seed: int


def few_shot_splits(
    patients: Mapping[str, Patient],
    shots: Sequence[Shots],
    seeds: int = DEFAULT_SEEDS,
    validation: int | float | Sequence[str] = DEFAULT_VALIDATION,
    seed: int = DEFAULT_SEED,
    train_patients: Sequence[str] | None = None,
) -> list[FewShotFold]:
    """Draws few-shot folds of patients by the protocol above.

    Args:
        patients: The patient of every case.
        shots: Numbers of training patients, and/or ``"all"``.
        seeds: How many random subsets to draw for each number of shots.
        validation: Number of validation patients (int), their part of all patients who are not named (float between 0
            and 1), or their names.
        seed: Seed of all random choices.
        train_patients: Names of training patients: N shots are the first N of them. ``"all"`` are all who are not in
            validation, also those who are not named. None: they are drawn.

    Raises:
        UserError: there are too few patients, an argument is out of its range, or a name is not known.
    """
    numbers = _check_shots(shots, seeds)
    check_seed(seed)
    groups, known = patients_by_group(patients), cases_by_patient(patients)
    named = () if train_patients is None else check_named(train_patients, known, TRAIN_OPTION)
    if isinstance(validation, (int, float)):
        validation_patients = _draw_validation(_without(groups, named), validation, seed, num_left=0 if named else 1)
    else:
        validation_patients = list(check_named(validation, known, VALIDATION_OPTION))
    candidates = _without(groups, validation_patients)
    remaining = [name for names in candidates.values() for name in names]
    if train_patients is None:
        _check_enough(numbers, len(remaining), len(validation_patients))
        orders = _draw_orders(candidates, seeds, seed)
    else:
        orders = [order_of_named(named, remaining, largest=_largest(numbers), seeds=seeds)]
    pairs = [(number, index) for number in numbers for index in range(1 if number == "all" else seeds)]
    return [
        FewShotFold(
            **_fold(fold, patients, orders[index][: None if number == "all" else number], validation_patients),
            shots=number,
            seed=index,
        )
        for fold, (number, index) in enumerate(pairs)
    ]


def cross_validation_splits(
    patients: Mapping[str, Patient], num_folds: int = 5, seed: int = DEFAULT_SEED
) -> list[PatientFold]:
    """Splits the patients by nnU-Net's own ``generate_crossval_split``, so that all cases of a patient stay together.

    Raises:
        UserError: there are fewer patients than folds, or fewer than two folds.
    """
    cases = cases_by_patient(patients)
    check_seed(seed)
    if not 2 <= num_folds <= len(cases):
        raise UserError(
            f"--cross-validation must be from 2 to the number of patients, {len(cases)}, but is {num_folds}."
        )
    splits = generate_crossval_split(list(cases), seed=seed, n_splits=num_folds)
    return [PatientFold(**_fold(fold, patients, split["train"], split["val"])) for fold, split in enumerate(splits)]


def _fold(fold: int, patients: Mapping[str, Patient], train: Sequence[str], validation: Sequence[str]) -> dict:
    cases = cases_by_patient(patients)
    train, validation = (tuple(sorted(str(name) for name in names)) for names in (train, validation))
    return {
        "fold": fold,
        "train_patients": train,
        "validation_patients": validation,
        "train_cases": tuple(sorted(case for name in train for case in cases[name])),
        "validation_cases": tuple(sorted(case for name in validation for case in cases[name])),
    }


def _check_shots(shots: Sequence[Shots], seeds: int) -> list[Shots]:
    """Returns the numbers of shots in ascending order, ``"all"`` last."""
    if seeds < 1:
        raise UserError(f"--seeds must be at least 1, but is {seeds}.")
    if not shots:
        raise UserError('--shots needs at least one number of patients, or "all".')
    if len(set(shots)) < len(shots):
        raise UserError(f"--shots {' '.join(map(str, shots))} names a number twice.")
    numbers = sorted(number for number in shots if number != "all")
    if numbers and numbers[0] < 1:
        raise UserError(f"--shots must be at least 1, but one is {numbers[0]}.")
    return numbers + (["all"] if "all" in shots else [])


def _largest(numbers: Sequence[Shots]) -> int:
    """The largest number of shots, apart from ``"all"``."""
    return max((number for number in numbers if number != "all"), default=0)


def _check_enough(numbers: Sequence[Shots], num_candidates: int, num_validation: int) -> None:
    most = _largest(numbers)
    if most > num_candidates:
        raise UserError(
            f"--shots {most} is more than the {num_candidates} patients that are left beside {num_validation} "
            "validation patients. Lower --shots or --validation."
        )


def _without(groups: Mapping[str, list[str]], names: Sequence[str]) -> dict[str, list[str]]:
    """The groups without these patients; a group that has no others is left out."""
    kept = {group: [name for name in members if name not in names] for group, members in groups.items()}
    return {group: members for group, members in kept.items() if members}


def _draw_validation(groups: Mapping[str, list[str]], validation: int | float, seed: int, num_left: int) -> list[str]:
    """Draws from every group its share, rounded by the largest remainder, and leaves some patients to train on."""
    total = sum(len(names) for names in groups.values())
    if total < 1 + num_left:
        raise UserError(f"A split needs at least two patients, but the dataset has {total}.")
    if isinstance(validation, float):
        if not 0 < validation < 1:
            raise UserError(f"--validation as a fraction must lie between 0 and 1, but is {validation}.")
        validation = min(max(round(validation * total), 1), total - num_left)
    if not 1 <= validation <= total - num_left:
        raise UserError(
            f"--validation must leave patients on both sides: from 1 to {total - num_left} of {total}, not "
            f"{validation}."
        )
    generator = np.random.default_rng([seed, 0])
    shares = {group: validation * len(names) / total for group, names in groups.items()}
    counts = {group: int(share) for group, share in shares.items()}
    # Shuffled first, so that the seed and not the alphabet decides between equal remainders.
    by_remainder = sorted(_shuffled(list(groups), generator), key=lambda group: counts[group] - shares[group])
    for group in by_remainder[: validation - sum(counts.values())]:
        counts[group] += 1
    return [name for group, names in groups.items() for name in _shuffled(names, generator)[: counts[group]]]


def _draw_orders(candidates: Mapping[str, list[str]], seeds: int, seed: int) -> list[list[str]]:
    """Draws the order in which each seed takes its patients."""
    group_order = _shuffled(list(candidates), np.random.default_rng([seed, 1]))
    orders = []
    earliest_place: defaultdict[str, float] = defaultdict(lambda: math.inf)
    for index in range(seeds):
        generator = np.random.default_rng([seed, 2, index])
        turn = index % len(group_order)
        turns = group_order[turn:] + group_order[:turn]
        # Overlapping subsets would repeat an experiment instead of showing how much it depends on the patients drawn.
        queues = {
            group: sorted(_shuffled(candidates[group], generator), key=earliest_place.__getitem__, reverse=True)
            for group in turns
        }
        longest = max(len(queue) for queue in queues.values())
        order = [queues[group][place] for place in range(longest) for group in turns if place < len(queues[group])]
        for place, name in enumerate(order):
            earliest_place[name] = min(place, earliest_place[name])
        orders.append(order)
    return orders


def _shuffled(names: list[str], generator: np.random.Generator) -> list[str]:
    return [names[place] for place in generator.permutation(len(names))]
