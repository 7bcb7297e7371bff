"""Every command that the documentation shows is one that its program takes."""

import argparse
import importlib.util
import re
import shlex
from copy import deepcopy
from functools import cache
from importlib.metadata import entry_points
from itertools import dropwhile, groupby
from pathlib import Path

import pytest

from nnunet_pix2rep.cli.main import build_parser
from nnunet_pix2rep.installation import trainers_folder

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
SHELL_BLOCK = re.compile(r"^ *```(?:bash|console)\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
CODE_BLOCK = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`((?:nnunet_pix2rep|nnUNetv2_\w+) [^`]+)`")
PROGRAM = re.compile(r"(?:nnunet_pix2rep|nnUNetv2_\w+)$")
BEFORE_THE_PROGRAM = re.compile(r"(?:nice|env|do|-?\d+)$|\w+=")  # and variables that are set for one command
PLACEHOLDER = re.compile(r"[A-Z][A-Z_]*$")  # DATASET, FOLD, N: for the reader to replace
SHORTENED = re.compile(r"\.\.\.(?!/)|[\[\]]")  # `nnUNetv2_train ... -p PLANS` names its options, no whole command
TRAINER = re.compile(r"\bnnUNetTrainer(?:(?!__)\w)*")  # in names of folders, plans follow after __
OF_NNUNET = {"nnUNetTrainer", "nnUNetTrainer_Xepochs"}
OF_THE_READER = re.compile(r"My")
ON_NNUNETS_MAIN_BRANCH = {"nnUNetv2_plan_like_dynamic", "nnUNetv2_preprocess_like_nnssl", "nnUNetv2_train_pretrained"}


class CaughtParserError(Exception):
    """Holds the parser of a command that was about to parse its arguments."""


def shell_commands(text):
    """The commands of all code blocks, a list of words each."""
    for block in SHELL_BLOCK.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.shlex(line, posix=True, punctuation_chars=True)
            words.whitespace_split = True
            for is_separator, group in groupby(words, key=lambda word: set(word) <= set("();<>|&")):
                command = list(dropwhile(BEFORE_THE_PROGRAM.match, group))
                if not is_separator and command and PROGRAM.match(command[0]):
                    yield command


def inline_commands(text):
    """What stands in backticks within sentences and tables, a list of words each."""
    for code in INLINE.findall(CODE_BLOCK.sub("", text)):
        yield code.replace("\\|", " ").split()


@cache
def parser_of_nnunet(program):
    """The parser of a command of nnU-Net, which builds it in the function that uses it."""
    (entry_point,) = entry_points(group="console_scripts", name=program)
    parse = argparse.ArgumentParser.parse_known_args

    def catch(parser, *_arguments):
        raise CaughtParserError(parser)

    argparse.ArgumentParser.parse_known_args = catch
    try:
        entry_point.load()()
    except CaughtParserError as caught:
        return caught.args[0]
    finally:
        argparse.ArgumentParser.parse_known_args = parse
    raise AssertionError(f"{program} parses no arguments")


def parser_of(program):
    """The program's own parser, to be changed at will."""
    return build_parser() if program == "nnunet_pix2rep" else deepcopy(parser_of_nnunet(program))


def parsers_in(parser):
    """Name -> parser of each subcommand; a parser without subcommands has the name ''."""
    choices = [action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return choices[0] if choices else {"": parser}


def problem_of(words):
    """What the program would complain about; None where it would not. Placeholders pass for any value."""
    program, *arguments = words
    parser = parser_of(program)
    has_placeholders = any(map(PLACEHOLDER.match, arguments))
    for each in {parser, *parsers_in(parser).values()}:
        each.error = _raise
        for action in each._actions:
            if isinstance(action, argparse._SubParsersAction):
                continue
            action.type = _lenient(action.type)
            action.choices = None if has_placeholders else action.choices
    try:
        parser.parse_args(arguments)
    except argparse.ArgumentError as error:
        return str(error)
    except SystemExit:  # --help, --version
        return None
    return None


def _raise(message):
    raise argparse.ArgumentError(None, message)


def _lenient(convert):
    def converted(text):
        return text if convert is None or PLACEHOLDER.match(text) else convert(text)

    return converted


def unknown_words(words):
    """Of a command that is shortened: the subcommand and the options that its program does not have."""
    parsers = parsers_in(parser_of(words[0]))
    rest = words[1:] if "" in parsers else words[2:]
    parser = parsers.get("" if "" in parsers else words[1])
    if parser is None:
        is_open = SHORTENED.search(words[1]) or PLACEHOLDER.match(words[1]) or words[1].startswith("--")
        return [] if is_open else [words[1]]
    options = [word.strip("[]|,") for word in rest if re.match(r"\[?--?[a-z]", word)]
    return [word.partition("=")[0] for word in options if word.partition("=")[0] not in parser._option_string_actions]


def problems_of(page):
    """Command -> what is wrong with it."""
    text = page.read_text(encoding="utf-8")
    found = [(words, not any(map(SHORTENED.search, words))) for words in shell_commands(text)]
    found += [(words, False) for words in inline_commands(text)]
    checked = {
        " ".join(words): problem_of(words) if is_whole else unknown_words(words)
        for words, is_whole in found
        if words[0] not in ON_NNUNETS_MAIN_BRANCH
    }
    return {command: problem for command, problem in checked.items() if problem}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_is_one_that_its_program_takes(page):
    assert problems_of(page) == {}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_trainer_that_a_page_names_exists(page):
    there = {path.stem for path in trainers_folder().glob("*.py")} | OF_NNUNET
    named = {name for name in TRAINER.findall(page.read_text(encoding="utf-8")) if not OF_THE_READER.search(name)}
    assert named - there == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_module_that_a_page_runs_exists(page):
    modules = set(re.findall(r"python -m (nnunet_pix2rep[\w.]+)", page.read_text(encoding="utf-8")))
    wanted = {module for module in modules if "XXX" not in module and not OF_THE_READER.search(module)}
    assert {module for module in wanted if importlib.util.find_spec(module) is None} == set()


@pytest.mark.parametrize(
    ("command", "is_right"),
    [
        ("nnunet_pix2rep suggest -d 5 -c 2d --slices N -o FOLDER", True),
        ("nnunet_pix2rep suggest -d 5 -c 2d --slices 20 -o FOLDER --selector coverage", True),
        ("nnunet_pix2rep suggest -d 5 -c 2d --slices 20 -o out --selector best", False),
        ("nnunet_pix2rep suggest -d 5 -c 2d --slices few -o out", False),
        ("nnunet_pix2rep suggest -d 5 -c 2d -o out", False),
        ("nnunet_pix2rep advise -d 5", False),
        ("nnUNetv2_train 5 2d all -tr nnUNetTrainer -device cpu", True),
        ("nnUNetv2_train 5 2d", False),
    ],
)
def test_the_check_of_commands_tells_right_from_wrong(command, is_right):
    assert (problem_of(command.split()) is None) == is_right
