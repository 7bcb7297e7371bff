"""Writes the parts of README.md and of docs pages that come from elsewhere: results, and the list of commands.

Run it after a new benchmark or a new command: ``python docs/scripts/front_page.py``. It needs the package.
"""

from __future__ import annotations

import re

from results_shown import ROOT, findings, headline, results_table, slices_table

from nnunet_pix2rep.cli.main import describe_commands

DOCS = ROOT / "docs"
PAGES = (
    ROOT / "README.md",
    DOCS / "README.md",
    DOCS / "explanation" / "what-to-expect.md",
    DOCS / "explanation" / "few-slices-of-many-patients.md",
)
PARTS = {
    "headline": headline,
    "findings": findings,
    "table": results_table,
    "slices": slices_table,
    "commands": lambda: f"```text\n{describe_commands()}\n```",
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
