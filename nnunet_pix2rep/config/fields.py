"""Dataclass fields that know their range, meaning and source, and reading them from JSON with clear errors.

By hand and not with pydantic: it would check numbers alike, but every one of its messages would have to be replaced by
one that names the key, the range in words, the meaning and the file.
"""

from __future__ import annotations

import math
import sys
import typing
from collections.abc import Iterator, Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
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


def parts_of(cls: type, name: str = "") -> Iterator[tuple[str, type]]:
    """Dotted name and class of every dataclass of settings within one, outer before inner, without the outermost."""
    for item_name, hint in typing.get_type_hints(cls).items():
        if isinstance(hint, type) and is_dataclass(hint):
            dotted = f"{name}.{item_name}" if name else item_name
            yield dotted, hint
            yield from parts_of(hint, dotted)


def read_settings(
    cls: type[Settings], values: Any, prefix: str, source: str, renamed: Mapping[str, str] | None = None
) -> Settings:
    """Makes a dataclass of settings from values as JSON gives them; missing ones keep their defaults.

    Args:
        cls: A dataclass of :func:`setting` fields and of dataclasses of such.
        values: Name -> value, or for a dataclass the same again.
        prefix: What the names stand under, for error messages, such as ``pix2rep.pretraining``.
        source: The file that they come from, for error messages.
        renamed: Names of before with what stands before them -> the names of now, for error messages.

    Raises:
        UserError: an unknown name or one of before, a wrong type or a value out of its range.
    """
    hints = typing.get_type_hints(cls)
    if not isinstance(values, Mapping):
        raise UserError(
            f'"{prefix}" in {source} must be an object with the keys {", ".join(hints)}, but is {values!r}.'
        )
    known = {item.name: item for item in fields(cls)}  # type: ignore[arg-type]  # a dataclass
    checked: dict[str, Any] = {}
    for name, value in values.items():
        full_name = f"{prefix}.{name}"
        if renamed and full_name in renamed:
            raise UserError(f'"{full_name}" in {source} is "{renamed[full_name]}" now. Rename it there.')
        if name not in known:
            raise UserError(f'Unknown key "{full_name}" in {source}. Known keys: {", ".join(known)}.')
        if is_dataclass(hints[name]):
            checked[name] = read_settings(hints[name], value, full_name, source, renamed)
            continue
        expected = Expected.of(known[name], hints[name])
        try:
            checked[name] = expected.read(value)
        except ValueError:
            raise UserError(
                f'"{full_name}" in {source} must be {expected}, but is {value!r}. '
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
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError
        if abs(value) > sys.float_info.max or math.isnan(value):  # an integer of JSON may have any number of digits
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
