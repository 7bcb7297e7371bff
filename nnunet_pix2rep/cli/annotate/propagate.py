"""``nnunet_pix2rep propagate``: segments a 4D series from one annotated frame."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_pix2rep.cli.feature_options import add_model_arguments, add_voting_arguments, load_model, read_voting

HELP = "Segment a 4D series (x, y, z, t) from one annotated frame, without training."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    add_model_arguments(parser)
    parser.add_argument(
        "-i",
        required=True,
        nargs="+",
        type=Path,
        metavar="SERIES_4D",
        help="The series: one 4D file for each channel of the dataset.",
    )
    parser.add_argument("-l", required=True, type=Path, metavar="LABEL", help="Labels of one frame, a 3D file.")
    parser.add_argument("--frame", required=True, type=int, metavar="T", help="Number of this frame; the first is 1.")
    parser.add_argument("-o", required=True, type=Path, metavar="OUT", help="The 4D label file to write.")
    add_voting_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    """Segments the series."""
    from nnunet_pix2rep.files import require_writable
    from nnunet_pix2rep.nnunet.in_context.propagate_series import propagate

    if arguments.o.exists() and not arguments.overwrite:
        print(f"{arguments.o} exists: nothing was done. --overwrite segments the series again.")
        return 0
    require_writable(arguments.o)
    settings = read_voting(arguments)
    num_frames = propagate(
        load_model(arguments),
        arguments.i,
        label_file=arguments.l,
        frame=arguments.frame,
        output=arguments.o,
        settings=settings,
    )
    print(f"Wrote {num_frames} frames to {arguments.o}")
    return 0
