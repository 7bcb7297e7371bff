"""``nnunet_pix2rep preprocess_unlabeled``: preprocesses images without labels under nnU-Net's plans."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_pix2rep.nnunet.unlabeled.preprocess import Report

HELP = "Preprocess images without labels like the labeled ones, for pretraining and the Mean Teacher."
MAX_NAMES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments, named as in nnU-Net."""
    parser.add_argument("-d", required=True, metavar="DATASET", help="Dataset number or name.")
    parser.add_argument("-c", required=True, metavar="CONFIGURATION", help="Configuration, such as 2d.")
    parser.add_argument("-p", default="nnUNetPlans", metavar="PLANS", help="Plans. Default: %(default)s.")
    parser.add_argument(
        "-i",
        type=Path,
        metavar="FOLDER",
        help="Images named <case>_0000, also those of another nnU-Net dataset. Default: imagesUn of the raw dataset.",
    )
    parser.add_argument(
        "--keep",
        nargs="+",
        default=[],
        metavar="CASE",
        help="Take these cases, with * and ?, although they are blank or look like label maps.",
    )
    parser.add_argument(
        "-np",
        type=positive_number,
        metavar="N",
        help="Number of processes. Default: nnU-Net's, nnUNet_def_n_proc or 8.",
    )


def run(arguments: argparse.Namespace) -> int:
    """Preprocesses and prints what was done; exit code 1 if an image failed."""
    from nnunet_pix2rep.nnunet.unlabeled.preprocess import preprocess_unlabeled

    report = preprocess_unlabeled(
        arguments.d,
        arguments.c,
        plans_name=arguments.p,
        folder=arguments.i,
        num_processes=arguments.np,
        keep=arguments.keep,
    )
    print_report(report)
    return 1 if report.failures else 0


def print_report(report: Report) -> None:
    """Prints what was preprocessed, left out and removed."""
    for reason, names in sorted(report.removed.items()):
        print(f"Removed from the pool, {reason}: {_names(names)}")
    for reason, names in sorted(report.selection.left_out.items()):
        print(f"Left out, {reason}: {_names(names)}")
    print(f"{report.folder}: {report.num_made} images preprocessed, {report.num_kept} were there already.")
    for warning in report.selection.warnings:
        print(f"Warning: {warning}")
    for name, reason in sorted(report.failures.items()):
        print(f"Failed: {name}: {reason}")
    if report.failures:
        print("Repair or remove these images and run the same command again; what is done is kept.")


def _names(names: list[str]) -> str:
    more = f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return ", ".join(sorted(names)[:MAX_NAMES]) + more


def positive_number(text: str) -> int:
    """The number of processes, for argparse."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes, 1 or more")
    return int(text)
