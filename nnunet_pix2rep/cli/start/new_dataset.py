"""``nnunet_pix2rep new_dataset``: a raw dataset from a folder of scans and no label at all."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_pix2rep.cli.start.add_unlabeled import add_keep_option, add_patient_options, print_report

if TYPE_CHECKING:
    from nnunet_pix2rep.annotation.start.new_dataset import NewDataset

HELP = "Make a dataset of scans without labels: dataset.json with nnU-Net's ignore label, all scans in imagesUn."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "-i", required=True, type=Path, metavar="SCANS", help="Folder with the scans, searched with its subfolders."
    )
    parser.add_argument("-d", required=True, type=int, metavar="ID", help="Number of the new dataset, 1 to 999.")
    parser.add_argument(
        "-n", required=True, metavar="NAME", help="Name of the new dataset, without the leading DatasetXXX_."
    )
    parser.add_argument(
        "--labels",
        required=True,
        nargs="+",
        metavar="LABEL",
        help="The structures to be annotated, without background.",
    )
    parser.add_argument(
        "--channels",
        nargs="+",
        metavar="NAME",
        help="Names of the channels; nnU-Net normalizes CT in its own way. Default: CT for DICOM of CT; grey or R G B "
        "for PNG; else MRI.",
    )
    parser.add_argument(
        "--file-ending",
        metavar="ENDING",
        help="Format of the dataset. Default: .png where all scans are PNG, JPEG, BMP or TIFF, else .nii.gz.",
    )
    add_patient_options(parser)
    add_keep_option(parser)
    parser.add_argument("--dry-run", action="store_true", help="Check everything and write nothing.")


def run(arguments: argparse.Namespace) -> int:
    """Makes the dataset and prints what was done; exit code 1 if a scan was left out for what is wrong with it."""
    from nnunet_pix2rep.annotation.start.new_dataset import make_new_dataset

    made = make_new_dataset(
        arguments.i,
        arguments.d,
        arguments.n,
        arguments.labels,
        channels=arguments.channels,
        file_ending=arguments.file_ending,
        patient_regex=arguments.patient_regex,
        patients_table=arguments.patients,
        dry_run=arguments.dry_run,
        keep=arguments.keep,
    )
    print_report(made.report, arguments.dry_run)
    print("Labels: " + ", ".join(f"{name} {value}" for name, value in made.labels.items()))
    print(f"Channels: {', '.join(made.channels)}{_remark_on_channels(made, arguments)}")
    if arguments.dry_run:
        print("Dry run: nothing was written.")
    else:
        in_3d = "" if made.dimension == 2 else "   (or -c 3d_fullres for trainings in 3D)"
        print(f"Next: nnunet_pix2rep plan_unlabeled -d {arguments.d} -c 2d{in_3d}")
    return 1 if made.report.problems else 0


def _remark_on_channels(made: NewDataset, arguments: argparse.Namespace) -> str:
    if arguments.channels or made.channels != ("MRI",):
        return ""
    return " (the default: give --channels CT for CT, which nnU-Net normalizes in another way)"
