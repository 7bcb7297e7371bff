"""What the site takes from the code is all there."""

import argparse
import importlib.util
from pathlib import Path

import pytest

from nnunet_pix2rep.cli.main import SUBCOMMANDS, build_parser
from nnunet_pix2rep.installation import trainers_folder

DOCS = Path(__file__).resolve().parents[2] / "docs"


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PARTS = load("generated_parts")


def test_every_subcommand_has_a_section_with_all_its_arguments():
    page = PARTS.on_page_markdown((DOCS / "reference" / "commands.md").read_text(encoding="utf-8"))
    parsers = PARTS.subcommands(build_parser())
    assert set(parsers) == set(SUBCOMMANDS)
    sections = dict(section.split("\n", 1) for section in page.split("\n### ")[1:])
    assert set(sections) == set(SUBCOMMANDS)
    for name, parser in parsers.items():
        options = {option for action in parser._actions for option in action.option_strings} - {"-h", "--help"}
        assert not {option for option in options if f"| `{option}`" not in sections[name].replace(", `", "| `")}


def test_every_argument_has_a_meaning():
    parsers = PARTS.subcommands(build_parser())
    without = {(name, action.dest) for name, parser in parsers.items() for action in parser._actions if not action.help}
    assert without == set()


def test_defaults_are_filled_in():
    parser = argparse.ArgumentParser(prog="program")
    parser.add_argument("--length", type=int, default=7, metavar="N", help="Length of %(prog)s. Default: %(default)s.")
    assert "| `--length` `N` | Length of program. Default: 7. |" in PARTS._command("name", parser)


def test_every_trainer_is_listed():
    page = PARTS.on_page_markdown((DOCS / "reference" / "trainers.md").read_text(encoding="utf-8"))
    assert not {path.stem for path in trainers_folder().glob("nnUNet*.py") if f"| `{path.stem}` |" not in page}


def test_an_unknown_part_is_an_error():
    with pytest.raises(KeyError, match="weather"):
        PARTS.on_page_markdown("<!-- generated: weather --> none <!-- end -->")
    assert PARTS.on_page_markdown("Nothing to fill in.") == "Nothing to fill in."


def test_docstrings_become_markdown():
    pytest.importorskip("griffe")
    as_markdown = load("docstrings").as_markdown
    assert as_markdown("See :func:`package.module.name` and :class:`~package.Other`.") == (
        "See `package.module.name` and `package.Other`."
    )
    assert as_markdown("Doubles.\n\n>>> 2 * 2\n4\n\nMore.") == "Doubles.\n\n```pycon\n>>> 2 * 2\n4\n```\n\nMore."
    assert as_markdown("The sum::\n\n    a + b") == "The sum:\n\n    a + b"
