"""The command line that all conversions share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from nnunetv2.paths import nnUNet_raw

from nnunet_pix2rep.errors import UserError


def run_conversion(
    convert: Callable[..., Path],
    argv: Sequence[str] | None,
    *,
    description: str,
    input_help: str,
    dataset_id: int,
) -> int:
    """Parses the arguments of a conversion and runs it.

    Args:
        convert: ``convert(source, dataset_id, raw_folder, dry_run)``.
        argv: the arguments; None for those of the process.
        description: the first lines of the help.
        input_help: what the input folder must hold.
        dataset_id: the default of ``-d``.

    Returns:
        The exit code: 0, or 1 after a UserError, whose message goes to the standard error stream.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-i", "--input_folder", type=Path, required=True, help=input_help)
    parser.add_argument(
        "-o", "--output_folder", type=Path, help="nnU-Net's raw folder (default: environment variable nnUNet_raw)"
    )
    parser.add_argument("-d", "--dataset_id", type=int, default=dataset_id, help="dataset ID (default: %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="print what would be written, and write nothing")
    arguments = parser.parse_args(argv)
    try:
        convert(
            arguments.input_folder,
            arguments.dataset_id,
            raw_folder_or_default(arguments.output_folder),
            arguments.dry_run,
        )
    except UserError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    return 0


def raw_folder_or_default(raw_folder: Path | None) -> Path:
    """The folder given, or else the one that the environment variable ``nnUNet_raw`` names.

    Raises:
        UserError: neither is set.
    """
    if raw_folder is not None:
        return Path(raw_folder)
    if not nnUNet_raw.is_set():
        raise UserError("The environment variable nnUNet_raw is not set: set it, or give the output folder with -o.")
    return Path(nnUNet_raw.require())
