"""ACDC (Automated Cardiac Diagnosis Challenge): end-diastole and end-systole of 150 patients, and the frames between.

Reads the official layout: ``training/patientXXX/`` and ``testing/patientXXX/``, each with ``Info.cfg``,
``patientXXX_frameFF.nii.gz`` and ``patientXXX_frameFF_gt.nii.gz`` of two frames, and ``patientXXX_4d.nii.gz``.

Same case names, labels and channel as nnU-Net's own ``Dataset027_ACDC``. Beyond that: labels of the test patients
(labelsTs), patients.json with the pathology group, and all other frames of the training patients' cine in imagesUn. The
frames of test patients are left out, so that nothing of them is ever seen in training.

Source: Bernard et al., "Deep Learning Techniques for Automatic MRI Cardiac Multi-structures Segmentation and Diagnosis:
Is the Problem Solved?", IEEE Transactions on Medical Imaging 2018.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from nnunet_pix2rep.dataset_conversion.command import run_conversion
from nnunet_pix2rep.dataset_conversion.source_files import (
    CARDIAC_LABELS,
    check_labels_have_images,
    check_same_size,
    find_root,
    find_volume,
    parse_whole_number,
    read_header,
    read_label,
    read_volume,
    require_volume,
    usable_frames_of_cine,
)
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_dataset_writer import Case, DatasetDescription, write_raw_dataset

DESCRIPTION = DatasetDescription(
    name="ACDC",
    channel_name="cineMRI",
    labels=CARDIAC_LABELS,
    reference="Bernard et al., IEEE TMI 2018, https://www.creatis.insa-lyon.fr/Challenge/acdc",
    license="CC BY-NC-SA 4.0",
    description="Short-axis cardiac cine MRI with both ventricles and the myocardium at end-diastole and end-systole",
)
INPUT_HELP = "unpacked folder with training/ and testing/"
SUBSET_OF_FOLDER = {"training": "Tr", "testing": "Ts"}


def convert_acdc(source: Path, dataset_id: int, raw_folder: Path, dry_run: bool = False) -> Path:
    """Converts ACDC.

    Args:
        source: folder with ``training/`` and, if downloaded, ``testing/``; or the folder ``database/`` above it.
        dataset_id: nnU-Net's dataset ID.
        raw_folder: nnU-Net's raw folder.
        dry_run: print what would be written, and write nothing.

    Returns:
        The dataset folder.

    Raises:
        UserError: a missing or damaged file, a bad ``Info.cfg``, a label without its image, or a problem of the output
            folder.
    """
    root = find_root(source, "database", "training")
    cases: list[Case] = []
    warnings: list[str] = []
    for name, subset in SUBSET_OF_FOLDER.items():
        patients = [path for path in sorted((root / name).glob("patient*")) if path.is_dir()]
        if not patients:
            warnings.append(f"{root / name} holds no patients.")
        for folder in patients:
            check_labels_have_images(folder)
            info = read_info(folder / "Info.cfg")
            cases += labeled_cases(folder, subset, info, warnings)
            if subset == "Tr":
                cases += unlabeled_cases(folder, info, warnings)
    return write_raw_dataset(cases, DESCRIPTION, dataset_id, raw_folder, dry_run=dry_run, warnings=warnings)


def read_info(path: Path) -> dict[str, str]:
    """Reads ``Info.cfg``, lines of ``key: value``.

    Raises:
        UserError: the file, or one of the keys ED, ES and Group, is missing.
    """
    if not path.is_file():
        raise UserError(f"{path} does not exist. Complete the download.")
    pairs = (line.partition(":") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    info = {key.strip(): value.strip() for key, _, value in pairs}
    for key in ("ED", "ES", "Group"):
        if not info.get(key):
            raise UserError(f"{path} has no value for {key}.")
    return info


def labeled_frames(folder: Path, info: dict[str, str]) -> list[int]:
    """End-diastole and end-systole, counted from 1 as in the file names."""
    return [parse_whole_number(info[key], key, folder / "Info.cfg") for key in ("ED", "ES")]


def labeled_cases(folder: Path, subset: str, info: dict[str, str], warnings: list[str]) -> list[Case]:
    """End-diastole and end-systole of a patient; only a test patient may lack the labels (they came out later)."""
    cases = []
    for frame in labeled_frames(folder, info):
        name = f"{folder.name}_frame{frame:02d}"
        image = require_volume(folder, name)
        label_file = find_volume(folder, f"{name}_gt")
        label = None
        if label_file is not None:
            check_same_size(image, label_file)
            label = partial(read_label, label_file, image, {value: value for value in CARDIAC_LABELS.values()})
        elif subset == "Tr":
            raise UserError(f"{image} has no label {name}_gt.nii.gz beside it. Complete the download.")
        else:
            read_header(image)
            warnings.append(f"{image} has no label: only its image goes to imagesTs.")
        source = image if image.name.endswith(".nii.gz") else partial(read_volume, image)
        cases.append(
            Case(name=name, subset=subset, patient=folder.name, group=info["Group"], image=source, label=label)
        )
    return cases


def unlabeled_cases(folder: Path, info: dict[str, str], warnings: list[str]) -> list[Case]:
    """All frames of the cine but the labeled ones, on the geometry of the labeled ones.

    The spacing in the header of a 4D file is not always that of the frame files, which are the reference.
    """
    labeled = labeled_frames(folder, info)
    geometry = require_volume(folder, f"{folder.name}_frame{labeled[0]:02d}")
    cine, count = usable_frames_of_cine(folder, f"{folder.name}_4d", geometry, warnings)
    if cine is None:
        return []
    if max(labeled) > count:
        raise UserError(f"{folder / 'Info.cfg'}: frame {max(labeled)} is beyond the {count} frames of {cine.name}.")
    return [
        Case(
            f"{folder.name}_frame{frame:02d}",
            "Un",
            patient=folder.name,
            group=info["Group"],
            image=partial(read_volume, cine, frame - 1, geometry),
        )
        for frame in range(1, count + 1)
        if frame not in labeled
    ]


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the conversion from the command line."""
    return run_conversion(convert_acdc, argv, description=__doc__ or "", input_help=INPUT_HELP, dataset_id=27)


if __name__ == "__main__":
    raise SystemExit(main())
