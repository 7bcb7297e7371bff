"""The demo's expert: draws the truth in the slices that are to be annotated, and nowhere else."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import SimpleITK

from nnunet_pix2rep.annotation.work_folder import LABELS, read_suggestion
from nnunet_pix2rep.demo.hide_labels import ENDING
from nnunet_pix2rep.files import atomic_path
from nnunet_pix2rep.nnunet.data.volume_writer import write_image


def annotate(work: Path, truth: Path) -> int:
    """Fills the chosen slices of a work folder's label files.

    Args:
        work: A folder that ``nnunet_pix2rep suggest`` wrote.
        truth: Has a label file of every scan, ``CASE.nii.gz``.

    Returns:
        The number of slices.

    Raises:
        UserError: there is no suggestion in the work folder.
    """
    suggestion = read_suggestion(work)
    for case, indices in suggestion.chosen().items():
        file = work / LABELS / f"{case}{ENDING}"
        image = SimpleITK.ReadImage(str(file))
        labels = SimpleITK.GetArrayFromImage(image)
        true = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(truth / file.name)))
        place = (slice(None),) * suggestion.axes[case] + (indices,)
        labels[place] = true[place]
        drawn = SimpleITK.GetImageFromArray(labels)
        drawn.CopyInformation(image)
        with atomic_path(file) as temporary:
            write_image(drawn, temporary, file)
    return len(suggestion.slices)


def main(argv: Sequence[str] | None = None) -> int:
    """Annotates from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-i", type=Path, required=True, metavar="FOLDER", help="the work folder")
    parser.add_argument("--truth", type=Path, required=True, metavar="FOLDER", help="label files of all scans")
    arguments = parser.parse_args(argv)
    print(f"{annotate(arguments.i, arguments.truth)} slices annotated in {arguments.i}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
