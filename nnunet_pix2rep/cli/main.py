"""Entry point of the ``nnunet_pix2rep`` command.

Each subcommand is a module of this package with ``HELP``, ``add_arguments(parser)`` and ``run(arguments) -> int``. A
module must import neither torch nor nnU-Net before ``run``, so that ``--help`` answers at once.
"""

from __future__ import annotations

import argparse
import importlib
import keyword
import sys
from collections.abc import Sequence

from nnunet_pix2rep import __version__

SUBCOMMANDS = (
    "trainers",
    "new_dataset",
    "plan_unlabeled",
    "plan",
    "split",
    "add_unlabeled",
    "preprocess_unlabeled",
    "features",
    "suggest",
    "collect",
    "segment_in_context",
    "propagate",
    "benchmark",
    "speed",
    "export",
    "import",
    "doctor",
    "demo",
    "settings",
)


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the command with all its subcommands."""
    parser = argparse.ArgumentParser(
        prog="nnunet_pix2rep",
        description="Pix2Rep: self-supervised pixel-level pretraining for nnU-Net. Training itself runs through "
        "nnUNetv2_train; these commands prepare and accompany it.",
    )
    parser.add_argument("--version", action="version", version=f"nnunet_pix2rep {__version__}")
    subparsers = parser.add_subparsers(dest="subcommand", required=True, metavar="SUBCOMMAND")
    for name in SUBCOMMANDS:
        module_name = f"{name}_" if keyword.iskeyword(name) else name
        module = importlib.import_module(f"nnunet_pix2rep.cli.{module_name}")
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
        return arguments.run(arguments)
    except UserError as error:
        message: str | None = str(error)
    except OSError as error:
        message = describe_os_error(error)
        if message is None:
            raise
    print(f"{command}: error: {message}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
