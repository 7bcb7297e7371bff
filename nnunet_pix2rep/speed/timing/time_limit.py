"""A limit to the whole command's time, for cards that are lent for minutes."""

from __future__ import annotations

import time
from collections.abc import Callable

# What a measurement may take on a GPU until it has been timed here; only these decide what is still begun.
EXPECTED_SECONDS = {"pretraining": 20.0, "pretraining_compiled": 60.0, "loader": 40.0}
EXPECTED_OTHERWISE = 12.0


class TimeLimit:
    """Says which measurements may still begin, and remembers those that may not.

    Args:
        seconds: From ``start`` to the end of the last measurement; None: no limit.
        start: When the command began, by ``clock``; None: now.
        clock: Gives seconds.
    """

    def __init__(
        self, seconds: float | None, start: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.seconds = seconds
        self.clock = clock
        self.start = clock() if start is None else start
        self.left_out: list[str] = []
        self._longest: dict[str, float] = {}

    def allows(self, kind: str, name: str) -> bool:
        """Whether another measurement of a kind is expected to end in time; if not, its name is noted."""
        expected = self._longest.get(kind, EXPECTED_SECONDS.get(kind, EXPECTED_OTHERWISE))
        if self.seconds is None or self.clock() - self.start + expected <= self.seconds:
            return True
        self.left_out.append(f"{name} (it would have passed the time limit of {self.seconds:g} s)")
        return False

    def took(self, kind: str, seconds: float) -> None:
        """Notes how long a measurement of a kind took."""
        self._longest[kind] = max(seconds, self._longest.get(kind, 0.0))
