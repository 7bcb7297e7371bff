"""Numbers, intervals and names as the report shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nnunet_pix2rep.benchmark.schema import ARM_SEPARATOR

LONGEST_LABEL = 24


def label_of(method: str) -> str:
    """The name of a method in a figure: the end of a long path, and a selector on a line of its own."""
    name, separator, selector = method.rpartition(ARM_SEPARATOR)
    if separator:
        return f"{label_of(name)}\n+ {selector}"
    if len(method) <= LONGEST_LABEL:
        return method
    kind, colon, path = method.rpartition(":")
    return f"{kind}{colon}…{path[-(LONGEST_LABEL - len(kind) - 2) :]}"


def effort_text(number: int, effort: str) -> str:
    """1 labeled patient, 2 annotated slices.

    Args:
        number: How much is annotated.
        effort: In what it is counted, ``patients`` or ``slices``.
    """
    name = effort_name(effort)
    return f"{number} {name.removesuffix('s') if number == 1 else name}"


def effort_name(effort: str) -> str:
    """What annotation is counted in, with what is done to it."""
    return {"patients": "labeled patients", "slices": "annotated slices"}[effort]


def format_number(value: float | None, digits: int = 3, signed: bool = False) -> str:
    """A number, or a dash where it is undefined."""
    if value is None:
        return "–"
    return f"{value:+.{digits}f}" if signed else f"{value:.{digits}f}"


def format_interval(
    value: float | None, low: float | None, high: float | None, digits: int = 3, signed: bool = False
) -> str:
    """A number with its interval, where it has one."""
    text = format_number(value, digits, signed)
    if low is None or high is None:
        return text
    return f"{text} ({format_number(low, digits, signed)} to {format_number(high, digits, signed)})"


def format_share(share: float) -> str:
    """A Dice as a part of another, in percent."""
    return f"{100 * share:.1f} %"


def format_part(number: int, whole: int) -> str:
    """How much is annotated of all, in percent."""
    return f"{100 * number / whole:.3g} %"


def format_factor(bound: Mapping[str, Any]) -> str:
    """A saving factor that may be a bound only."""
    relation = "" if bound["relation"] == "=" else f"{bound['relation']} "
    return f"{relation}{bound['value']:.3g}"


def plain_text(value: Any) -> str:
    """Any value of a JSON file in one line."""
    if value is None:
        return "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {plain_text(entry)}" for key, entry in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(plain_text, value))
    return str(value)
