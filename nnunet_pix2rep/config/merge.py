"""Nested settings as JSON gives them: reading, joining and picking."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nnunet_pix2rep.errors import UserError


def parse_settings(settings: Sequence[str], source: str = "--set") -> dict[str, Any]:
    """Turns ``["pretraining.head.channels=64"]`` into ``{"pretraining": {"head": {"channels": 64}}}``.

    Values are JSON (``200``, ``0.5``, ``[0.5, 1.2]``, ``null``); anything that is not JSON is taken as text.

    Raises:
        UserError: a setting without ``part.name=value``.
    """
    block: dict[str, Any] = {}
    for text in settings:
        key, separator, value = text.partition("=")
        names = key.strip().split(".")
        if not separator or len(names) < 2 or not all(names):
            raise UserError(
                f'{source} {text!r} is not of the form part.name=value, for instance "pretraining.num_epochs=200".'
            )
        try:
            given = json.loads(value)
        except ValueError:  # no JSON, or more digits than Python reads
            given = value.strip()
        for name in reversed(names):
            given = {name: given}
        block = merged(block, given)
    return block


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Both blocks; where they have a value of the same name, the second one's."""
    result = dict(first)
    for name, value in second.items():
        both = isinstance(result.get(name), Mapping) and isinstance(value, Mapping)
        result[name] = merged(result[name], value) if both else value
    return result


def picked(values: Mapping[str, Any], names: Mapping[str, Any]) -> dict[str, Any]:
    """Of a block those values whose names another block has too."""
    return {
        name: picked(values[name], inner) if isinstance(inner, Mapping) else values[name]
        for name, inner in names.items()
    }


def listed(block: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted name and value of all settings of a block."""
    for name, value in block.items():
        if isinstance(value, Mapping):
            yield from listed(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
