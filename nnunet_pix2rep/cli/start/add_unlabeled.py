"""``nnunet_pix2rep add_unlabeled``: brings images of common formats into ``imagesUn`` of a raw dataset."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from nnunet_pix2rep.cli.next_commands import for_each_configuration

if TYPE_CHECKING:
    from nnunet_pix2rep.nnunet.unlabeled.adding.add import AddReport

HELP = "Add images without labels (NIfTI, NRRD, MetaImage, DICOM, PNG, ...) to imagesUn of a dataset."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument("-d", required=True, metavar="DATASET", help="Dataset number or name.")
    parser.add_argument(
        "-i", required=True, type=Path, metavar="FOLDER", help="Folder with the images, searched with its subfolders."
    )
    add_patient_options(parser)
    add_keep_option(parser)
    parser.add_argument("--dry-run", action="store_true", help="Check everything and write nothing.")


def add_patient_options(parser: argparse.ArgumentParser) -> None:
    """Adds the options that say whom an image shows."""
    patients = parser.add_mutually_exclusive_group()
    patients.add_argument(
        "--patient-regex",
        metavar="REGEX",
        help="Regular expression that matches case names from their start; its one group is the patient, such as "
        r"'(patient\d+)_.*' for patient01_03.",
    )
    patients.add_argument(
        "--patients", type=Path, metavar="CSV", help="Table with the columns case, patient and, if wanted, group."
    )


def add_keep_option(parser: argparse.ArgumentParser) -> None:
    """Adds the option that forces images in."""
    parser.add_argument(
        "--keep",
        nargs="+",
        default=[],
        metavar="PATH",
        help="Take these images, paths below FOLDER with * and ?, although they are blank or look like label maps.",
    )


def run(arguments: argparse.Namespace) -> int:
    """Adds the images and prints what was done; exit code 1 if one could not be added."""
    from nnunet_pix2rep.nnunet.unlabeled.adding.add import add_unlabeled

    report = add_unlabeled(
        arguments.d,
        arguments.i,
        arguments.patient_regex,
        arguments.patients,
        dry_run=arguments.dry_run,
        keep=arguments.keep,
    )
    print_report(report, arguments.dry_run)
    if report.added and not arguments.dry_run:
        command = f"nnunet_pix2rep preprocess_unlabeled -d {arguments.d} -c {{configuration}}{{plans}}"
        print(for_each_configuration(arguments.d, command))
    return 1 if report.problems else 0


def print_report(report: AddReport, dry_run: bool) -> None:
    """Prints what became of each image."""
    for label, name in sorted(report.added.items()):
        print(f"{label} -> {name}")
    for label, reason in sorted(report.skipped.items()):
        print(f"Skipped: {label}: {reason}")
    if report.ignored:
        print(f"Ignored {len(report.ignored)} file(s) that are no images, such as {report.ignored[0]}")
    for label, remarks in sorted(report.warnings.items()):
        print(f"Warning: {label}: {'; '.join(remarks)}")
    for label, reason in sorted(report.problems.items()):
        print(f"Not added: {label}: {reason}")
    print(f"Patients: {report.patients}")
    what = "would be added" if dry_run else "added"
    print(
        f"{report.folder}: {len(report.added)} images {what}, {len(report.present)} were there already, "
        f"{len(report.skipped)} skipped, {len(report.problems)} with problems."
    )
