"""What the site's reference takes from the code when it is built: mkdocs calls ``on_page_markdown`` for each page.

A page asks for such a part between two comments, ``<!-- generated: commands -->`` and ``<!-- end -->``. What stands
there in the file is for those who read it outside of the site.
"""

from __future__ import annotations

import argparse
import ast
import re
from pathlib import Path
from typing import Any

from nnunet_pix2rep.cli.main import COMMANDS, build_parser

ROOT = Path(__file__).resolve().parents[2]
MARKER = re.compile(r"<!-- generated: (\w+) -->.*?<!-- end -->", re.DOTALL)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with every marker replaced by the part that it names.

    Raises:
        KeyError: a marker names no part.
    """
    return MARKER.sub(lambda match: PARTS[match[1]](), markdown)


def commands() -> str:
    """Every subcommand, by purpose: what it does, how it is called, its arguments."""
    parsers = subcommands(build_parser())
    return "\n\n".join(
        "\n\n".join([f"## {purpose.capitalize()}", *(_command(name, parsers[name]) for name in group)])
        for purpose, group in COMMANDS.items()
    )


def subcommands(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    """Name -> parser of each subcommand."""
    (choices,) = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    return dict(choices)


def _command(name: str, parser: argparse.ArgumentParser) -> str:
    usage = parser.format_usage().removeprefix("usage: ").rstrip()
    arguments = [action for action in parser._actions if not isinstance(action, argparse._HelpAction)]
    lines = [f"### {name}", "", parser.description or "", "", "```text", usage, "```"]
    if arguments:
        lines += ["", "| argument | meaning |", "| --- | --- |"]
        lines += [f"| {_spelling(action)} | {_meaning(action, parser.prog)} |" for action in arguments]
    return "\n".join(lines)


def _spelling(action: argparse.Action) -> str:
    value = action.metavar or (action.dest if not action.option_strings else action.dest.upper())
    value = value if isinstance(value, str) else " ".join(value)
    names = [f"`{name}`" for name in action.option_strings] or [f"`{value}`"]
    takes_value = bool(action.option_strings) and action.nargs != 0
    chosen = f" {_choices(action)}" if action.choices else (f" `{value}`" if takes_value else "")
    return ", ".join(names) + chosen + (" (required)" if action.required and action.option_strings else "")


def _choices(action: argparse.Action) -> str:
    return ", ".join(f"`{choice}`" for choice in action.choices or ())


def _meaning(action: argparse.Action, program: str) -> str:
    text = (action.help or "") % {**vars(action), "prog": program}
    return text.replace("|", "\\|").replace("<", "&lt;")


def trainers() -> str:
    """A table of every trainer that ``-tr`` can name, with what its file and its class say of it."""
    lines = ["| `-tr` | what it does |", "| --- | --- |"]
    for path in sorted((ROOT / "trainers").glob("nnUNetTrainer*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == path.stem]
        detail = (ast.get_docstring(classes[0]) or "").partition("\n\n")[0] if classes else ""
        summary = (ast.get_docstring(tree) or "").partition("\n\n")[0]
        lines.append(f"| `{path.stem}` | {_in_one_line(f'{summary} {detail}')} |")
    return "\n".join(lines)


def _in_one_line(text: str) -> str:
    return " ".join(text.split()).replace("``", "`").replace("|", "\\|")


PARTS = {"commands": commands, "trainers": trainers}
