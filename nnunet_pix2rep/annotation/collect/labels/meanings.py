"""What the values of label files mean: by the labels that ``suggest`` found, and by those of now."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_pix2rep.errors import UserError


def check_meanings(then: Mapping[str, Any], now: Mapping[str, Any], suggestion: Path, dataset_json: Path) -> None:
    """Refuses label files in which a value stood for something else when they were made to draw in.

    Args:
        then: The labels of ``dataset.json`` when the suggestion was made; empty: that is not known.
        now: Those that it has now.
        suggestion: The file that holds the former.
        dataset_json: The file that holds the latter.

    Raises:
        UserError: a value has another meaning now, or none.
    """
    changes = changed_meanings(then, now)
    if changes:
        raise UserError(
            f"The labels in {dataset_json} are no longer those that {suggestion} was made with: {'; '.join(changes)}. "
            "The label files are drawn by the earlier values. Put the earlier labels back into dataset.json and "
            "collect; change them after that, together with the values in labelsTr. Or bring the values in these label "
            f'files up to date, and then the entry "labels" of {suggestion.name}, alone where only a name has changed.'
        )


def changed_meanings(then: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Values that stood for something that they do not stand for now, a text for each.

    New labels with values of their own change no meaning, nor does a new region of values that are there.

    Args:
        then: Name -> value, or values of a region, as in ``dataset.json``.
        now: Likewise.
    """
    earlier, current = _names_by_value(then), _names_by_value(now)
    return [
        f"{value} was {', '.join(sorted(names))} and is {', '.join(sorted(current.get(value, ()))) or 'no label'} now"
        for value, names in sorted(earlier.items())
        if names - current.get(value, set())
    ]


def _names_by_value(labels: Mapping[str, Any]) -> dict[int, set[str]]:
    """Value -> the labels and regions that it belongs to."""
    found: defaultdict[int, set[str]] = defaultdict(set)
    for name, entry in labels.items():
        for value in entry if isinstance(entry, (list, tuple)) else [entry]:
            found[int(value)].add(name)
    return dict(found)
