"""``nnunet_pix2rep trainers``: prints the folder for ``nnUNet_extTrainer``."""

from __future__ import annotations

import argparse

HELP = 'Print the folder of the trainers: export nnUNet_extTrainer="$(nnunet_pix2rep trainers)".'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Takes no arguments."""


def run(arguments: argparse.Namespace) -> int:  # noqa: ARG001
    """Prints the path and nothing else, so that a shell can capture it."""
    from nnunet_pix2rep.installation import trainers_folder

    print(trainers_folder())
    return 0
