"""``nnunet_pix2rep features``: pictures of what a network has learned, and its raw features."""

from __future__ import annotations

import argparse
from pathlib import Path

from nnunet_pix2rep.cli.feature_options import add_model_arguments, load_model

HELP = "Draw the pixel features of images: PCA colors, similarity to a point, equivariance error; save raw features."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    add_model_arguments(parser)
    parser.add_argument("-i", required=True, type=Path, metavar="IMAGES", help="Folder of images in nnU-Net's naming.")
    parser.add_argument("-o", required=True, type=Path, metavar="DIR", help="Folder for the pictures.")
    parser.add_argument(
        "--point",
        type=_point,
        metavar="X,Y[,Z]",
        help="The point that all pixels are compared with, in voxels from 0, as viewers show them. Default: the least "
        "typical pixel near the middle.",
    )
    parser.add_argument("--point-image", metavar="CASE", help="The image of the point. Default: the first one.")
    parser.add_argument(
        "--raw",
        choices=("npz", "nifti"),
        help="Also save all features of every voxel of the preprocessed image; large.",
    )


def run(arguments: argparse.Namespace) -> int:
    """Draws the pictures."""
    from nnunet_pix2rep.files import require_writable
    from nnunet_pix2rep.nnunet.features.report import FeatureReport

    require_writable(arguments.o)
    report = FeatureReport(load_model(arguments), arguments.i, arguments.mirroring, arguments.seed)
    written = report.write(
        arguments.o, arguments.point, arguments.point_image, arguments.raw, overwrite=arguments.overwrite
    )
    print(f"Wrote {len(written)} files to {arguments.o}")
    return 0


def _point(text: str) -> tuple[int, ...]:
    try:
        point = tuple(int(part) for part in text.split(","))
    except ValueError:
        point = ()
    if len(point) not in (2, 3):
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form x,y,z (or x,y for 2D images)")
    return point
