"""M&Ms-2 (Multi-Disease, Multi-View & Multi-Center Right Ventricular Segmentation): the short-axis view.

Reads the official layout: ``dataset/001/001_SA_ED.nii.gz``, ``001_SA_ED_gt.nii.gz``, the same for ES, optionally
``001_SA_CINE.nii.gz``, and ``dataset_information.csv``. The long-axis files are left alone.

- Labels are mapped to the order of ACDC: RV 1, MLV 2, LVC 3 (M&Ms-2: LV 1, MYO 2, RV 3).
- imagesTr: subjects 1 to 160 (training). imagesTs: 161 to 200 (validation) and 201 to 360 (testing).
- imagesUn: all frames of the cine of training subjects, counted from 0. The table does not say which of them are
  end-diastole and end-systole, so these two are in imagesTr and in imagesUn.
- The group of a subject is the disease.

Source: Martín-Isla et al., "Deep Learning Segmentation of the Right Ventricle in Cardiac MRI: The M&Ms Challenge", IEEE
Journal of Biomedical and Health Informatics 2023.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nnunet_pix2rep.dataset_conversion.command import run_conversion
from nnunet_pix2rep.dataset_conversion.source_files import (
    CARDIAC_LABELS,
    FROM_MNMS,
    check_labels_have_images,
    check_same_size,
    find_root,
    parse_whole_number,
    read_label,
    read_table,
    read_volume,
    require_volume,
    usable_frames_of_cine,
)
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_dataset_writer import Case, DatasetDescription, write_raw_dataset

DESCRIPTION = DatasetDescription(
    name="MNMs2",
    channel_name="cineMRI",
    labels=CARDIAC_LABELS,
    reference="Martín-Isla et al., IEEE JBHI 2023, https://www.ub.edu/mnms-2",
    license="see https://www.ub.edu/mnms-2",
    description="Short-axis cardiac cine MRI of several diseases and vendors at end-diastole and end-systole",
)
INPUT_HELP = "unpacked folder with dataset/ and dataset_information.csv"
COLUMNS = ("SUBJECT_CODE", "DISEASE", "VENDOR", "SCANNER", "FIELD")
LAST_TRAINING_SUBJECT = 160


def convert_mnms2(source: Path, dataset_id: int, raw_folder: Path, dry_run: bool = False) -> Path:
    """Converts the short-axis view of M&Ms-2.

    Args:
        source: folder with ``dataset/`` and ``dataset_information.csv``, or the one above it (``MnM2/``).
        dataset_id: nnU-Net's dataset ID.
        raw_folder: nnU-Net's raw folder.
        dry_run: print what would be written, and write nothing.

    Returns:
        The dataset folder. Rows of the table without files and subjects without a row are left out, and reported as
        warnings at the end.

    Raises:
        UserError: the table or a file is missing or damaged, a label has no image or another size, or a problem of the
            output folder.
    """
    root = find_root(source, "MnM2", "dataset")
    diseases = read_diseases(root / "dataset_information.csv")
    folders = {path.name: path for path in sorted((root / "dataset").iterdir()) if path.is_dir()}
    warnings = [f"{code} is in the table, but has no folder: skipped." for code in diseases if code not in folders]
    cases: list[Case] = []
    for code, folder in folders.items():
        if code not in diseases:
            warnings.append(f"{folder} is not in the table: skipped.")
            continue
        cases += labeled_cases(folder, diseases[code])
        if int(code) <= LAST_TRAINING_SUBJECT:
            cases += unlabeled_cases(folder, diseases[code], warnings)
    return write_raw_dataset(cases, DESCRIPTION, dataset_id, raw_folder, dry_run=dry_run, warnings=warnings)


def read_diseases(path: Path) -> dict[str, str]:
    """Subject code with leading zeros -> disease.

    Raises:
        UserError: a code is not a number or occurs twice.
    """
    diseases: dict[str, str] = {}
    for row in read_table(path, COLUMNS):
        code = f"{parse_whole_number(row['SUBJECT_CODE'], 'SUBJECT_CODE', path):03d}"
        if code in diseases:
            raise UserError(f"{path} has two rows for subject {code}.")
        diseases[code] = row["DISEASE"]
    return diseases


def labeled_cases(folder: Path, disease: str) -> list[Case]:
    """End-diastole and end-systole of a subject."""
    check_labels_have_images(folder)
    code = folder.name
    subset = "Tr" if int(code) <= LAST_TRAINING_SUBJECT else "Ts"
    cases = []
    for phase in ("ED", "ES"):
        image = require_volume(folder, f"{code}_SA_{phase}")
        label = require_volume(folder, f"{code}_SA_{phase}_gt")
        check_same_size(image, label)
        source = image if image.name.endswith(".nii.gz") else partial(read_volume, image)
        cases.append(
            Case(
                name=f"{code}_{phase}",
                subset=subset,
                patient=code,
                group=disease,
                image=source,
                label=partial(read_label, label, image, FROM_MNMS),
            )
        )
    return cases


def unlabeled_cases(folder: Path, disease: str, warnings: list[str]) -> list[Case]:
    """All frames of a subject's cine, on the geometry of the end-diastolic image."""
    code = folder.name
    geometry = require_volume(folder, f"{code}_SA_ED")
    cine, count = usable_frames_of_cine(folder, f"{code}_SA_CINE", geometry, warnings)
    if cine is None:
        return []
    return [
        Case(
            f"{code}_frame{frame:02d}",
            "Un",
            patient=code,
            group=disease,
            image=partial(read_volume, cine, frame, geometry),
        )
        for frame in range(count)
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the conversion from the command line."""
    return run_conversion(convert_mnms2, argv, description=__doc__ or "", input_help=INPUT_HELP, dataset_id=116)


if __name__ == "__main__":
    raise SystemExit(main())
