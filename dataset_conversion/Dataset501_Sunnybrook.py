"""Sunnybrook Cardiac Data (MICCAI 2009 left-ventricle challenge): end-diastole and end-systole of each patient.

Two layouts are recognized by their folders:

- The original data: ``SCD_ManualContours/``, ``SCD_IMAGES_*/`` and ``scd_patientdata.csv``, contours as text and DICOM
  images. Gives the true geometry, and the other cardiac phases in imagesUn. See ``sunnybrook_contours.py``.
- The PNG export of the labeled slices: ``Images/`` and ``Labels/``. See ``sunnybrook_png.py``.

In both, a labeled volume is the stack of the slices that the expert contoured in that phase, not the whole heart:
slices without a contour are not known to be background. End-diastole is the phase with the larger cavity. The data has
no official test set, so every patient is in imagesTr. The group is the pathology in the patient's name: SC-HF-I (heart
failure, infarct), SC-HF-NI (heart failure, no infarct), SC-HYP (hypertrophy), SC-N (normal).

Source: Radau et al., "Evaluation Framework for Algorithms Segmenting Short Axis Cardiac MRI", MIDAS Journal 2009.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_pix2rep.dataset_conversion.command import run_conversion
from nnunet_pix2rep.dataset_conversion.sunnybrook_contours import cases_from_contours
from nnunet_pix2rep.dataset_conversion.sunnybrook_png import cases_from_png
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_dataset_writer import DatasetDescription, write_raw_dataset

DESCRIPTION = DatasetDescription(
    name="Sunnybrook",
    channel_name="MRI",
    labels={"background": 0, "LV": 1},
    reference="Radau et al., MIDAS Journal 2009, https://www.cardiacatlas.org/sunnybrook-cardiac-data",
    license="CC0 1.0",
    description="Short-axis cardiac cine MRI with the left-ventricular cavity at end-diastole and end-systole",
)
INPUT_HELP = "folder with SCD_ManualContours/ and SCD_IMAGES_*/, or with Images/ and Labels/ of the PNG export"


def convert_sunnybrook(source: Path, dataset_id: int, raw_folder: Path, dry_run: bool = False) -> Path:
    """Converts either layout, or any part of it.

    Args:
        source: the folder of either layout.
        dataset_id: nnU-Net's dataset ID.
        raw_folder: nnU-Net's raw folder.
        dry_run: print what would be written, and write nothing.

    Returns:
        The dataset folder.

    Raises:
        UserError: neither or both layouts, a problem of the source data (see the module of the layout), or of the
            output folder.
    """
    has_contours = (source / "SCD_ManualContours").is_dir()
    has_png = (source / "Images").is_dir() or (source / "Labels").is_dir()
    if has_contours == has_png:
        found = "both SCD_ManualContours/ and Images/" if has_png else "neither SCD_ManualContours/ nor Images/"
        raise UserError(f"{source} holds {found}: give a folder with one of the two layouts with -i.")
    warnings: list[str] = []
    cases = cases_from_contours(source, warnings) if has_contours else cases_from_png(source)
    return write_raw_dataset(cases, DESCRIPTION, dataset_id, raw_folder, dry_run=dry_run, warnings=warnings)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the conversion from the command line."""
    return run_conversion(convert_sunnybrook, argv, description=__doc__ or "", input_help=INPUT_HELP, dataset_id=501)


if __name__ == "__main__":
    raise SystemExit(main())
