"""Copies the dataset before anything in it is annotated, so that something else can be annotated in the copy."""

from __future__ import annotations

import shutil
from collections.abc import Sequence

from nnunet_pix2rep.demo.settings import DemoFolders, folders_parser


def copy_dataset(folders: DemoFolders) -> None:
    """Copies raw and preprocessed data to the folder of the one patient; what is there is removed."""
    shutil.rmtree(folders.one_patient, ignore_errors=True)
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        shutil.copytree(folders.output / name / folders.dataset, folders.one_patient / name / folders.dataset)


def main(argv: Sequence[str] | None = None) -> int:
    """Copies from the command line."""
    parser = folders_parser(__doc__)
    arguments = parser.parse_args(argv)
    copy_dataset(DemoFolders(arguments.o, arguments.d))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
