"""``nnunet_pix2rep import``: an nnssl checkpoint's encoder as the start of a Pix2Rep pretraining."""

from __future__ import annotations

import argparse
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnunet_pix2rep.nnunet.checkpoints.nnssl_import import ImportReport

HELP = "Make the encoder of an nnssl checkpoint the start of a Pix2Rep pretraining, where shapes allow."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments, named as in nnU-Net."""
    parser.add_argument(
        "checkpoint", type=Path, metavar="NNSSL_CHECKPOINT", help="A checkpoint that holds an nnssl_adaptation_plan."
    )
    parser.add_argument("-d", required=True, metavar="DATASET", help="Dataset number or name.")
    parser.add_argument("-c", required=True, metavar="CONFIGURATION", help="Configuration, such as 3d_fullres.")
    parser.add_argument("-p", default="nnUNetPlans", metavar="PLANS", help="Plans. Default: %(default)s.")
    parser.add_argument("-o", required=True, type=Path, metavar="FILE", help="The new file, such as start.pth.")
    parser.add_argument("--overwrite", action="store_true", help="Replace an existing file.")


def run(arguments: argparse.Namespace) -> int:
    """Writes the file; prints what was loaded, skipped and mismatched, and what to run next."""
    from nnunet_pix2rep.files import require_writable
    from nnunet_pix2rep.nnunet.checkpoints.nnssl_import import import_encoder
    from nnunet_pix2rep.nnunet.data.dataset_folders import dataset_name_of

    require_writable(arguments.o)
    report = import_encoder(
        arguments.checkpoint,
        arguments.d,
        configuration=arguments.c,
        plans_name=arguments.p,
        target=arguments.o,
        overwrite=arguments.overwrite,
    )
    _print_report(report)
    print(f"Wrote {arguments.o}. The decoder in it is random. Next:")
    print(
        f"  nnUNetv2_train {dataset_name_of(arguments.d)} {arguments.c} FOLD -p {arguments.p} "
        f"-tr nnUNetTrainerPix2RepPretrain -pretrained_weights {quote(str(arguments.o.resolve()))}"
    )
    return 0


def _print_report(report: ImportReport) -> None:
    print(
        f"{len(report.loaded)} weights loaded, {len(report.skipped)} skipped, {len(report.mismatched)} of another "
        f"shape, {len(report.missing)} missing"
    )
    for title, keys in (("loaded", report.loaded), ("skipped", report.skipped)):
        for key in keys:
            print(f"  {title}: {key}")
    for key, (found, wanted) in report.mismatched.items():
        print(f"  mismatched, stays random: {key} has shape {found} in the checkpoint, {wanted} in the network")
    for key in report.missing:
        print(f"  missing, stays random: {key}")
