"""Patients whom the user names, in place of those whom few-shot folds would draw."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nnunet_pix2rep.errors import UserError

TRAIN_OPTION, VALIDATION_OPTION = "--train-patients", "--validation-patients"
NAMES_SHOWN = 3


def check_named(names: Sequence[str], known: Iterable[str], option: str) -> tuple[str, ...]:
    """Returns the names as they were given.

    Args:
        names: What the user named.
        known: The dataset's patients.
        option: Where, for messages.

    Raises:
        UserError: a name that is no patient's, a name twice, no name, or all names of the dataset.
    """
    known = sorted(set(known))
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"{option} names {', '.join(unknown)}, but the dataset has no such patient. Its patients are named like "
            f"{', '.join(known[:NAMES_SHOWN])}."
        )
    if not names or len(set(names)) < len(names):
        raise UserError(f"{option} must name patients, each of them once, but is {' '.join(names) or 'empty'}.")
    if len(names) == len(known):
        raise UserError(f"{option} names all patients of the dataset: none is left for the other side of the split.")
    return tuple(names)


def order_of_named(named: Sequence[str], candidates: Iterable[str], largest: int, seeds: int) -> list[str]:
    """The order in which patients are labeled: those who are named, then all others, in the order of their names.

    Args:
        named: Training patients, as :func:`check_named` returns them.
        candidates: All patients who are not in validation.
        largest: Largest number of patients of a fold, apart from ``"all"``.
        seeds: Draws that are asked for.

    Raises:
        UserError: a patient is named for validation too, there are too few names, or more than one draw is asked for.
    """
    candidates = sorted(candidates)
    both = [name for name in named if name not in candidates]
    if both:
        raise UserError(f"{TRAIN_OPTION} and {VALIDATION_OPTION} both name {', '.join(both)}.")
    if largest > len(named):
        raise UserError(f"--shots {largest} is more than the {len(named)} patients that {TRAIN_OPTION} names.")
    if seeds != 1:
        raise UserError(f"--seeds draws patients, but {TRAIN_OPTION} names them: there is one draw. Leave --seeds out.")
    return [*named, *(name for name in candidates if name not in named)]
