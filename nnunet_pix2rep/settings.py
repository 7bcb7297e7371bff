"""Dataclass fields that know their range, meaning and source, and reading them from JSON with clear errors."""

from __future__ import annotations

import math
import typing
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from types import NoneType, UnionType
from typing import Any, TypeVar

from nnunet_pix2rep.errors import UserError

Settings = TypeVar("Settings")


def setting(
    default: Any,
    meaning: str,
    source: str,
    low: float = -math.inf,
    high: float = math.inf,
    choices: tuple[str, ...] = (),
) -> Any:
    """A dataclass field with its range (inclusive), or its choices, its meaning and the source of its default."""
    metadata = {"meaning": meaning, "source": source, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


def read_settings(cls: type[Settings], values: Mapping[str, Any], prefix: str, source: str) -> Settings:
    """Makes a dataclass of settings from values as JSON gives them; missing ones keep their defaults.

    Args:
        cls: A dataclass of :func:`setting` fields.
        values: Name -> value.
        prefix: What the names stand under, for error messages, such as ``pix2rep.pretraining``.
        source: The file that they come from, for error messages.

    Raises:
        UserError: an unknown name, a wrong type or a value out of its range.
    """
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]
    hints = typing.get_type_hints(cls)
    checked = {}
    for name, value in values.items():
        if name not in known:
            raise UserError(f'Unknown key "{prefix}.{name}" in {source}. Known keys: {", ".join(known)}.')
        expected = Expected.of(known[name], hints[name])
        try:
            checked[name] = expected.read(value)
        except ValueError:
            raise UserError(
                f'"{prefix}.{name}" in {source} must be {expected}, but is {value!r}. '
                f"It means: {known[name].metadata['meaning']}."
            ) from None
    return cls(**checked)


@dataclass(frozen=True)
class Expected:
    """The values that a setting may take; as text, what an error message says of them.

    Attributes:
        scalar: ``int``, ``float`` or, with choices, ``str``.
        is_list: Whether a list of scalars is expected. One of two entries is a range, the lower end first.
        length: Its number of entries; None: any.
        may_be_null: Whether None is a value too.
        low: Least number, inclusive.
        high: Greatest number, inclusive.
        choices: The texts to choose from.
    """

    scalar: type
    is_list: bool
    length: int | None
    may_be_null: bool
    low: float
    high: float
    choices: tuple[str, ...]

    @classmethod
    def of(cls, item: Field, hint: Any) -> Expected:
        """What the type hint and the metadata of a :func:`setting` field ask for."""
        alternatives = typing.get_args(hint) if isinstance(hint, UnionType) else (hint,)
        (kind,) = (alternative for alternative in alternatives if alternative is not NoneType)
        is_list = typing.get_origin(kind) is tuple
        entries = typing.get_args(kind) if is_list else (kind,)
        length = None if entries[-1] is Ellipsis else len(entries)
        limits = {name: item.metadata[name] for name in ("low", "high", "choices")}
        return cls(entries[0], is_list, length, NoneType in alternatives, **limits)

    def read(self, value: Any) -> Any:
        """Returns the value in its own type, lists as tuples; raises ValueError where it is not as expected."""
        if value is None and self.may_be_null:
            return None
        if self.choices:
            if value not in self.choices:
                raise ValueError
            return value
        if not self.is_list:
            return self._read_number(value)
        if not isinstance(value, (list, tuple)) or self.length not in (None, len(value)):
            raise ValueError
        numbers = tuple(self._read_number(entry) for entry in value)
        if self.length == 2 and numbers[0] > numbers[1]:
            raise ValueError
        return numbers

    def _read_number(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ValueError
        if not self.low <= value <= self.high or self.scalar(value) != value:
            raise ValueError
        return self.scalar(value)

    def __str__(self) -> str:
        if self.choices:
            text = f"one of {', '.join(self.choices)}"
        else:
            limits = f"of at least {self.low}" if math.isinf(self.high) else f"from {self.low} to {self.high}"
            singular, plural = {int: ("an integer", "integers"), float: ("a number", "numbers")}[self.scalar]
            if self.length == 2 and self.is_list:
                text = f"a list of two {plural} {limits}, the lower first"
            elif self.is_list:
                text = f"a list of {plural} {limits}"
            else:
                text = f"{singular} {limits}"
        return f"null or {text}" if self.may_be_null else text
