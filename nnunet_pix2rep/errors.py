"""The error that a user can fix."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input: the message says what is wrong, in which file or key, and what to do about it."""
