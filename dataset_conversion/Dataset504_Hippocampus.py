"""Hippocampus, Task04 of the Medical Segmentation Decathlon, from a folder that has nnU-Net's file names already.

Source: Antonelli et al., "The Medical Segmentation Decathlon", Nature Communications 2022. The official archive
(``Task04_Hippocampus.tar``) itself is converted by nnU-Net's own ``nnUNetv2_convert_MSD_dataset``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import SimpleITK

from nnunet_pix2rep.dataset_conversion.command import run_conversion
from nnunet_pix2rep.dataset_conversion.source_files import (
    check_label_values,
    check_same_grid,
    read_volume,
    require_folder,
)
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_dataset_writer import Case, DatasetDescription, write_raw_dataset
from nnunet_pix2rep.nnunet.data.volume_writer import FILE_ENDING

DESCRIPTION = DatasetDescription(
    name="Hippocampus",
    channel_name="MRI",
    labels={"background": 0, "Anterior": 1, "Posterior": 2},
    reference="Antonelli et al., Nature Communications 2022, http://medicaldecathlon.com",
    license="CC-BY-SA 4.0",
    description="T1-weighted MRI crops around the hippocampus, Medical Segmentation Decathlon Task04",
)

INPUT_HELP = "folder with imagesTr/<case>_0000.nii.gz and labelsTr/<case>.nii.gz"


def convert_hippocampus(source: Path, dataset_id: int, raw_folder: Path, dry_run: bool = False) -> Path:
    """Copies the training set into nnU-Net's raw folder; each case is a patient of its own.

    Args:
        source: folder with ``imagesTr/`` and ``labelsTr/``.
        dataset_id: nnU-Net's dataset ID.
        raw_folder: nnU-Net's raw folder.
        dry_run: print what would be written, and write nothing.

    Returns:
        The dataset folder.

    Raises:
        UserError: an image without a label or the reverse, different sizes or places, a damaged file, a label that is
            not expected, or a problem of the output folder.
    """
    images = index_cases(require_folder(source / "imagesTr", "imagesTr/"), f"_0000{FILE_ENDING}")
    labels = index_cases(require_folder(source / "labelsTr", "labelsTr/"), FILE_ENDING)
    for name in sorted(images.keys() ^ labels.keys()):
        present = images.get(name) or labels[name]
        missing = "label" if name in images else "image"
        raise UserError(f"{present} has no {missing}: add it, or remove the file.")
    for name, image in images.items():
        check_same_grid(image, labels[name])
        voxels = SimpleITK.GetArrayViewFromImage(read_volume(labels[name]))
        check_label_values(labels[name], voxels, DESCRIPTION.labels.values())
    cases = [
        Case(name=name, subset="Tr", patient=name, group=None, image=image, label=labels[name])
        for name, image in images.items()
    ]
    return write_raw_dataset(cases, DESCRIPTION, dataset_id, raw_folder, dry_run=dry_run)


def index_cases(folder: Path, ending: str) -> dict[str, Path]:
    """Case name -> file.

    Raises:
        UserError: a file of the folder does not end in ``ending``.
    """
    # Archives packed on a Mac bring hidden files ("._hippocampus_001.nii.gz") that are no images.
    paths = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    for path in paths:
        if not path.name.endswith(ending):
            raise UserError(f"{path} does not match the pattern <case>{ending}: rename or remove it.")
    return {path.name.removesuffix(ending): path for path in paths}


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the conversion from the command line."""
    return run_conversion(convert_hippocampus, argv, description=__doc__ or "", input_help=INPUT_HELP, dataset_id=504)


if __name__ == "__main__":
    raise SystemExit(main())
