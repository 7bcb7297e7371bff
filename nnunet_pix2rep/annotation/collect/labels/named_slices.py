"""Slices that a user names for an option of ``collect``: ``CASE`` for all of a case, ``CASE:SLICE`` for one."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

MOST_NAMED = 5  # cases that a message lists


@dataclass
class NamedSlices:
    """What was named.

    Attributes:
        whole: Cases that were named as a whole.
        slices: Case -> its slices that were named one by one, counted from 0.
        problems: A line for each name that cannot be meant.
    """

    whole: set[str] = field(default_factory=set)
    slices: dict[str, set[int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def of(self, case: str) -> set[int]:
        """The slices of a case that were named one by one."""
        return self.slices.get(case, set())


def find_named_slices(option: str, names: Iterable[str], cases: Collection[str]) -> NamedSlices:
    """Tells what names mean.

    Args:
        option: The option that they were given to, for messages.
        names: ``CASE`` or ``CASE:SLICE``.
        cases: The cases that have a label file.
    """
    named = NamedSlices()
    for name in names:
        case, _, index = name.rpartition(":")
        if name in cases:
            named.whole.add(name)
        elif case in cases and index.isdecimal():
            named.slices.setdefault(case, set()).add(int(index))
        else:
            known = [*sorted(cases)[:MOST_NAMED], *(["..."] if len(cases) > MOST_NAMED else [])]
            named.problems.append(
                f"{option} {name}: this is no case with a label file here. Write CASE or CASE:SLICE; there are "
                f"{', '.join(known)}."
            )
    return named
