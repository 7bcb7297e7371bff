"""M&Ms (Multi-Centre, Multi-Vendor & Multi-Disease Cardiac Image Segmentation Challenge).

Reads the official layout: ``OpenDataset/`` with ``Training/Labeled``, ``Training/Unlabeled``, ``Validation`` and
``Testing``, each with ``<code>/<code>_sa.nii.gz`` and ``<code>_sa_gt.nii.gz`` (both 4D, the label filled in at
end-diastole and end-systole only), and the table ``*_M&Ms_Dataset_[Ii]nformation_*opendataset.csv`` of either release,
whose ED and ES count from 0.

- Labels are mapped to the order of ACDC: RV 1, MLV 2, LVC 3 (M&Ms: LV 1, MYO 2, RV 3).
- Case names are ``<code>_frameFF`` with FF counted from 0, as in nnU-Net's own ``Dataset114_MNMs``.
- imagesTr: Training/Labeled. imagesTs: Validation and Testing. imagesUn: all frames of Training/Unlabeled (whose label
  files are empty) and the frames of Training/Labeled without label.
- The group of a patient is vendor and center, as in ``A-1``.

Source: Campello et al., "Multi-Centre, Multi-Vendor and Multi-Disease Cardiac Segmentation: The M&Ms Challenge", IEEE
Transactions on Medical Imaging 2021.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import SimpleITK
from tqdm import tqdm

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
    require_frames,
    require_volume,
)
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_dataset_writer import Case, DatasetDescription, write_raw_dataset

DESCRIPTION = DatasetDescription(
    name="MNMs",
    channel_name="cineMRI",
    labels=CARDIAC_LABELS,
    reference="Campello et al., IEEE TMI 2021, https://www.ub.edu/mnms",
    license="CC BY-NC-SA 4.0",
    description="Short-axis cardiac cine MRI of several vendors and centers, labeled at end-diastole and end-systole",
)
INPUT_HELP = "unpacked folder OpenDataset/, with Training/ and the CSV table"
TABLE = "*Dataset*nformation*opendataset.csv"
COLUMNS = ("External code", "Vendor", "Centre", "ED", "ES")
FOLDERS = {"Training/Labeled": "Tr", "Training/Unlabeled": "Un", "Validation": "Ts", "Testing": "Ts"}


def convert_mnms(source: Path, dataset_id: int, raw_folder: Path, dry_run: bool = False) -> Path:
    """Converts M&Ms.

    Args:
        source: the folder ``OpenDataset/``, or the one above it.
        dataset_id: nnU-Net's dataset ID.
        raw_folder: nnU-Net's raw folder.
        dry_run: print what would be written, and write nothing.

    Returns:
        The dataset folder. Rows of the table without files, patients without a row and frames without a label are left
        out, and reported as warnings at the end.

    Raises:
        UserError: the table or a file is missing or damaged, a label has no image or another size, or a problem of the
            output folder.
    """
    root = find_root(source, "OpenDataset", "Training")
    table = read_patients(root)
    patients = [
        (folder, subset)
        for name, subset in FOLDERS.items()
        for folder in sorted((root / name).glob("*"))
        if folder.is_dir()
    ]
    present = {folder.name for folder, _ in patients}
    warnings = [f"{code} is in the table, but has no folder: skipped." for code in table if code not in present]
    cases: list[Case] = []
    for folder, subset in tqdm(patients, desc="Reading labels", unit="patient"):
        row = table.get(folder.name)
        if row is None:
            warnings.append(f"{folder} is not in the table: skipped.")
            continue
        cases += patient_cases(folder, subset, row, warnings)
    return write_raw_dataset(cases, DESCRIPTION, dataset_id, raw_folder, dry_run=dry_run, warnings=warnings)


def read_patients(root: Path) -> dict[str, dict[str, str]]:
    """Patient code -> row of the table; of several releases, the latest (their names start with the date).

    Raises:
        UserError: there is no table, or a code occurs twice.
    """
    tables = sorted(root.glob(TABLE))
    if not tables:
        raise UserError(f"{root} holds no table {TABLE}: download it with the images.")
    patients: dict[str, dict[str, str]] = {}
    for row in read_table(tables[-1], COLUMNS):
        code = row["External code"]
        if code in patients:
            raise UserError(f"{tables[-1]} has two rows for {code}.")
        patients[code] = row | {"table": str(tables[-1])}
    return patients


def patient_cases(folder: Path, subset: str, row: dict[str, str], warnings: list[str]) -> list[Case]:
    """The labeled frames of a patient and, in training, the unlabeled ones."""
    code = folder.name
    check_labels_have_images(folder)
    image = require_volume(folder, f"{code}_sa")
    count = require_frames(image)
    make_case = partial(Case, patient=code, group=f"{row['Vendor']}-{row['Centre']}")
    cases = []
    if subset != "Un":
        label = require_volume(folder, f"{code}_sa_gt")
        check_same_size(image, label)
        frames = [parse_whole_number(row[key], f"{key} of {code}", Path(row["table"])) for key in ("ED", "ES")]
        for frame in usable_frames(frames, label, count, warnings):
            cases.append(
                make_case(
                    f"{code}_frame{frame:02d}",
                    subset,
                    image=partial(read_volume, image, frame),
                    label=partial(read_label, label, image, FROM_MNMS, frame),
                )
            )
    if subset != "Ts":
        labeled = {case.name for case in cases}
        names = {f"{code}_frame{frame:02d}": frame for frame in range(count)}
        cases += [
            make_case(name, "Un", image=partial(read_volume, image, frame))
            for name, frame in names.items()
            if name not in labeled
        ]
    return cases


def usable_frames(frames: list[int], label: Path, count: int, warnings: list[str]) -> list[int]:
    """Those of the table's frames that exist and hold a label; a warning for each of the others."""
    voxels = SimpleITK.GetArrayViewFromImage(read_volume(label))
    labeled = [frame for frame in range(count) if voxels[frame].any()]
    usable = []
    for frame in frames:
        if frame in labeled:
            usable.append(frame)
        else:
            warnings.append(f"{label} has no label at frame {frame}, only at {labeled or 'none'}: not used as labeled.")
    return usable


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the conversion from the command line."""
    return run_conversion(convert_mnms, argv, description=__doc__ or "", input_help=INPUT_HELP, dataset_id=114)


if __name__ == "__main__":
    raise SystemExit(main())
