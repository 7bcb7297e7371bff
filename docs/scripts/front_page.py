"""Writes the parts of README.md and of docs pages that come from elsewhere: results, and the list of commands.

Run it after a new benchmark or a new command: ``python docs/scripts/front_page.py``. It needs the package.
"""

from __future__ import annotations

import re

from results_in_words import demo_table, findings, headline, results_table, slices_table
from results_shown import ROOT

from nnunet_pix2rep.cli.main import COMMANDS, SUBCOMMANDS

DOCS = ROOT / "docs"
PAGES = (
    ROOT / "README.md",
    DOCS / "README.md",
    DOCS / "getting_started" / "install.md",
    DOCS / "explanation" / "what-to-expect.md",
    DOCS / "explanation" / "few-slices-of-many-patients.md",
)


def commands_by_purpose() -> str:
    """The list of ``nnunet_pix2rep --help``, with each purpose on the line of its first command to save lines."""
    width = max(map(len, SUBCOMMANDS))
    lines = [
        f"{purpose if number == 0 else '':10}{name:{width}}  {summary}"
        for purpose, group in COMMANDS.items()
        for number, (name, summary) in enumerate(group.items())
    ]
    return "\n".join(["```text", *lines, "```"])


PARTS = {
    "headline": headline,
    "findings": findings,
    "table": results_table,
    "slices": slices_table,
    "demo": demo_table,
    "commands": commands_by_purpose,
}
MARKED = re.compile(r"(<!-- written by docs/scripts/front_page\.py: (\w+) -->\n\n).*?(\n?<!-- end -->)", re.DOTALL)


def with_written_parts(page: str) -> str:
    """A page with what is between its markers replaced.

    Raises:
        KeyError: a marker names no part.
    """
    return MARKED.sub(lambda match: f"{match[1]}{PARTS[match[2]]()}\n\n<!-- end -->", page)


if __name__ == "__main__":
    for file in PAGES:
        file.write_text(with_written_parts(file.read_text(encoding="utf-8")), encoding="utf-8")
