"""Entry point of the ``nnunet_pix2rep`` command.

Each subcommand is a module in the folder of its purpose, with ``HELP``, ``add_arguments(parser)`` and
``run(arguments) -> int``. A module must import neither torch nor nnU-Net before ``run``, so that ``--help`` answers at
once.
"""

from __future__ import annotations

import argparse
import importlib
import keyword
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from nnunet_pix2rep import __version__

COMMANDS = {
    "start": {
        "demo": "the whole method on a synthetic heart, start to end",
        "doctor": "check environment, versions, a dataset, a checkpoint",
        "trainers": "the folder to export as nnUNet_extTrainer",
        "new_dataset": "make a dataset of a folder of scans, no labels needed",
        "plan_unlabeled": "plan and preprocess it from the images alone",
        "add_unlabeled": "add scans without labels to a dataset",
        "preprocess_unlabeled": "preprocess them like the labeled ones",
    },
    "train": {
        "plan": "plans with other settings, or for a small machine",
        "split": "folds by patient: few-shot or cross-validation",
        "settings": "every setting with default, range and source",
        "export": "the weights as a small file for nnU-Net or nnssl",
        "import": "start a pretraining from an nnssl encoder",
    },
    "look": {
        "features": "pictures of what the network learned, or raw features",
    },
    "annotate": {
        "suggest": "choose the slices to annotate, make files to draw in",
        "collect": "check finished labels and take them in",
        "segment_in_context": "segment new images without any training",
        "propagate": "segment a 4D series from one annotated frame",
    },
    "measure": {
        "benchmark": "compare with nnU-Net from scratch: intervals, tests",
        "speed": "what pretraining costs on this machine",
    },
}
"""The subcommands by purpose, each with the line that ``--help`` shows."""
SUBCOMMANDS = tuple(name for group in COMMANDS.values() for name in group)


def describe_commands() -> str:
    """The list of subcommands by purpose, as ``--help`` shows it."""
    width = max(map(len, SUBCOMMANDS))
    return "\n\n".join(
        "\n".join([purpose, *(f"  {name:{width}}  {summary}" for name, summary in group.items())])
        for purpose, group in COMMANDS.items()
    )


class _ParserWithGroups(argparse.ArgumentParser):
    """Lists the subcommands by purpose, which argparse's own list cannot."""

    def format_help(self) -> str:
        """Usage, what the command is for, and the subcommands."""
        closing = f"{self.prog} COMMAND --help: what a command takes"
        return "\n".join([self.format_usage(), f"{self.description}\n", describe_commands(), "", closing, ""])


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command with all its subcommands."""
    parser = _ParserWithGroups(
        prog="nnunet_pix2rep",
        description="Annotation planning and pretraining without labels for nnU-Net. Training\n"
        "itself runs through nnUNetv2_train; these commands prepare and accompany it.",
    )
    parser.add_argument("--version", action="version", version=f"nnunet_pix2rep {__version__}")
    subparsers = parser.add_subparsers(
        dest="subcommand", required=True, metavar="COMMAND", parser_class=argparse.ArgumentParser
    )
    for purpose, group in COMMANDS.items():
        for name in group:
            module_name = f"{name}_" if keyword.iskeyword(name) else name
            module = importlib.import_module(f"nnunet_pix2rep.cli.{purpose}.{module_name}")
            subparser = subparsers.add_parser(name, help=module.HELP, description=module.HELP)
            module.add_arguments(subparser)
            subparser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command line and returns the exit code.

    An error that the user can put right (bad input, missing file, unset variable, a folder that may not be written to,
    a full disk) is printed as one message with exit code 1; any other error keeps its traceback.
    """
    from nnunet_pix2rep.errors import UserError
    from nnunet_pix2rep.files import describe_os_error

    command = "nnunet_pix2rep"
    try:
        arguments = build_parser().parse_args(argv)
        command += f" {arguments.subcommand}"
        exit_code = arguments.run(arguments)
        if sys.stdout is not None:  # Python has none where it is closed
            sys.stdout.flush()  # at exit a full disk could not be told of
        return exit_code
    except UserError as error:
        message: str | None = str(error)
    except OSError as error:
        message = describe_os_error(error)
        if message is None:
            raise
        _drop_output()
    print(f"{command}: error: {message}", file=sys.stderr)
    return 1


def _drop_output() -> None:
    """Sends what cannot be printed to nowhere: Python would try again at exit, and report a second error."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


if __name__ == "__main__":
    sys.exit(main())
