"""Numbers of slices and values in messages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def join(values: Iterable[int]) -> str:
    """As "3, 5, 7", ascending."""
    return ", ".join(str(value) for value in sorted(values))


def join_runs(indices: Sequence[int]) -> str:
    """As :func:`join`, with three or more in a row as "3 to 7": of a whole scan there may be hundreds."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    return ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 2 else join(run) for run in runs)
