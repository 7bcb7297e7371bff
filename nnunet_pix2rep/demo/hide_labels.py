"""Turns a dataset with labels into what a hospital has: scans, and apart from them the truth and a test set."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from nnunet_pix2rep.demo.settings import DemoFolders, folders_parser
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.patients.few_shot_folds import few_shot_splits
from nnunet_pix2rep.nnunet.patients.patients import PATIENTS_FILE, read_patients

ENDING = ".nii.gz"  # of nnU-Net datasets that the phantom and the conversion write
CHANNEL = f"_0000{ENDING}"


def hide_labels(raw: Path, folders: DemoFolders, num_test: int, seed: int) -> None:
    """Copies the images of test patients to ``test``, all others to ``scans``, and the labels beside them.

    Args:
        raw: A raw nnU-Net dataset with one channel and ``patients.json``.
        folders: Where to; what is there is replaced.
        num_test: Test patients, drawn from every group of patients in proportion to its size.
        seed: Of their choice.

    Raises:
        UserError: the dataset has no images, or too few patients.
    """
    cases = [file.name.removesuffix(CHANNEL) for file in sorted((raw / "imagesTr").glob(f"*{CHANNEL}"))]
    if not cases:
        raise UserError(f"{raw / 'imagesTr'} has no image.")
    patients = read_patients(cases, raw / PATIENTS_FILE)
    (fold,) = few_shot_splits(patients, ["all"], seeds=1, validation=num_test, seed=seed)
    for folder in (folders.scans, folders.truth, folders.test):
        shutil.rmtree(folder, ignore_errors=True)
    test_images, test_labels = folders.test / "images", folders.test / "labels"
    for names, images, image_ending, labels in (
        (fold.train_cases, folders.scans, ENDING, folders.truth),
        (fold.validation_cases, test_images, CHANNEL, test_labels),
    ):
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for case in names:
            shutil.copyfile(raw / "imagesTr" / f"{case}{CHANNEL}", images / f"{case}{image_ending}")
            shutil.copyfile(raw / "labelsTr" / f"{case}{ENDING}", labels / f"{case}{ENDING}")
    write_json({case: patients[case].name for case in fold.validation_cases}, folders.test / PATIENTS_FILE)


def main(argv: Sequence[str] | None = None) -> int:
    """Hides the labels from the command line."""
    parser = folders_parser(__doc__)
    parser.add_argument("--test", type=int, required=True, metavar="N", help="number of test patients")
    parser.add_argument("--seed", type=int, required=True, help="seed of their choice")
    arguments = parser.parse_args(argv)
    folders = DemoFolders(arguments.o, arguments.d)
    hide_labels(folders.source / "nnUNet_raw" / arguments.d, folders, arguments.test, arguments.seed)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
