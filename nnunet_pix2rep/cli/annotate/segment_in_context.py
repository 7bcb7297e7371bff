"""``nnunet_pix2rep segment_in_context``: segmentation from some annotated images, without training."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_pix2rep.cli.feature_options import add_model_arguments, add_voting_arguments, load_model, read_voting

HELP = "Segment images without training: each pixel by its nearest neighbors among the pixels of annotated images."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    add_model_arguments(parser)
    parser.add_argument(
        "-s", required=True, type=Path, metavar="SUPPORT_IMAGES", help="Folder of annotated images in nnU-Net's naming."
    )
    parser.add_argument(
        "-l",
        required=True,
        type=Path,
        metavar="SUPPORT_LABELS",
        help="Folder of their labels; images without a label there are left out.",
    )
    parser.add_argument("-i", required=True, type=Path, metavar="QUERY", help="Folder of the images to segment.")
    parser.add_argument("-o", required=True, type=Path, metavar="OUT", help="Folder for the segmentations.")
    parser.add_argument("--support-cases", nargs="+", metavar="CASE", help="Use only these annotated images.")
    add_voting_arguments(parser)
    parser.add_argument(
        "--save_probabilities",
        action="store_true",
        help="Also write nnU-Net's .npz and .pkl.",
    )


def run(arguments: argparse.Namespace) -> int:
    """Segments the images and prints what was done."""
    from nnunet_pix2rep.files import require_writable
    from nnunet_pix2rep.nnunet.in_context.segment_folder import segment_in_context

    require_writable(arguments.o)
    settings = read_voting(arguments)
    written = segment_in_context(
        load_model(arguments),
        arguments.s,
        support_labels=arguments.l,
        query=arguments.i,
        output=arguments.o,
        settings=settings,
        support_cases=arguments.support_cases,
        save_probabilities=arguments.save_probabilities,
        overwrite=arguments.overwrite,
    )
    print("\n".join(written.notes))
    if written.skipped:
        print(f"Skipped {len(written.skipped)} images that are segmented already; --overwrite does them again.")
    print(f"Segmented {len(written.segmented)} images: {arguments.o}")
    return 0
