"""A griffe extension: docstrings as the site's Markdown wants them."""

from __future__ import annotations

import re
from typing import Any

from griffe import Extension, Object

ROLE = re.compile(r":(?:func|class|mod|data|meth|attr):`~?([^`]+)`")
DOCTEST = re.compile(r"^>>> .*(?:\n.+)*", re.MULTILINE)


class DocstringsAsMarkdown(Extension):
    """Roles of Sphinx become code, doctests blocks of code."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        """Rewrites the docstring of everything that is read."""
        if obj.docstring is not None:
            obj.docstring.value = as_markdown(obj.docstring.value)


def as_markdown(docstring: str) -> str:
    """The docstring with names in backticks alone, doctests fenced, and no second colon before a block of code."""
    text = ROLE.sub(r"`\1`", docstring).replace("::\n\n", ":\n\n")
    return DOCTEST.sub(lambda match: f"```pycon\n{match[0]}\n```", text)
