"""What a check finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from nnunet_pix2rep.errors import UserError


class Level(Enum):
    """How bad a finding is: an error stops a training or makes its result wrong."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes:
        level: How bad it is.
        subject: What was looked at, such as ``splits``.
        message: What is right or wrong, with the file or variable.
        remedy: A command, or what else fixes it; empty where nothing is wrong.
    """

    level: Level
    subject: str
    message: str
    remedy: str = ""


def ok(subject: str, message: str) -> Finding:
    """A finding that all is well."""
    return Finding(Level.OK, subject, message)


def warning(subject: str, message: str, remedy: str) -> Finding:
    """A finding that may be wanted, and may be not."""
    return Finding(Level.WARNING, subject, message, remedy)


def error(subject: str, message: str, remedy: str) -> Finding:
    """A finding that must be fixed."""
    return Finding(Level.ERROR, subject, message, remedy)


def shorten(names: Sequence[str], limit: int = 5) -> str:
    """The first names, and how many more there are."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def problem_of(check: Callable[[], Any]) -> str | None:
    """The message of a check that raises a UserError; None: it passes."""
    try:
        check()
    except UserError as problem:
        return str(problem)
    return None
