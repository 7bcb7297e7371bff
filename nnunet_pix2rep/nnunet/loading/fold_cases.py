"""Which cases a fold trains and validates on, with the checks that nnU-Net's own ``do_split`` leaves out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.patients.patients import check_patient_leak
from nnunet_pix2rep.nnunet.patients.split_files import SPLITS_FILE, known_patients, read_splits
from nnunet_pix2rep.nnunet.unlabeled.pool_patients import patients_with_pool

FOLDS_OF_NNUNET = 5  # n_splits in nnUNetTrainer.do_split (nnunetv2 2.8.1)


def check_fold(fold: int | str, dataset_folder: Path, cases: Sequence[str]) -> None:
    """Refuses folds that nnU-Net would make up silently or fail on.

    Args:
        fold: Number of the fold or ``all``.
        dataset_folder: The dataset's folder in ``nnUNet_preprocessed``.
        cases: The preprocessed cases.

    Raises:
        UserError: a fold beyond ``splits_final.json`` (nnU-Net would take a random 80:20 split), a split with cases
            that are not there or of another content, no split and fewer than five cases or a fold beyond nnU-Net's
            five, or no case at all.
    """
    if fold == "all":
        return
    if not cases:
        raise UserError(
            f"{dataset_folder.name} has no labeled case yet, so it has no fold {fold}: pretrain in fold all. Folds "
            "are made of labeled cases, by nnunet_pix2rep split, when there are some."
        )
    splits_file = dataset_folder / SPLITS_FILE
    if not splits_file.is_file():
        if len(cases) < FOLDS_OF_NNUNET:
            raise UserError(
                f"The dataset has {len(cases)} case(s), too few for nnU-Net's split into five folds. Train in fold "
                f"all, or make splits with nnunet_pix2rep split; there is no {splits_file}."
            )
        if not 0 <= int(fold) < FOLDS_OF_NNUNET:
            raise UserError(
                f"Fold {fold} does not exist: there is no {splits_file}, and nnU-Net's own split has the folds 0 to "
                f"{FOLDS_OF_NNUNET - 1}. Choose one of these, or make splits with nnunet_pix2rep split."
            )
        return
    splits = read_splits(dataset_folder)
    if not 0 <= int(fold) < len(splits):
        raise UserError(
            f"Fold {fold} does not exist: {splits_file} has the folds 0 to {len(splits) - 1}. nnU-Net would train on "
            "a random 80:20 split instead, which is refused here. Choose one of these folds or make splits with "
            "nnunet_pix2rep split."
        )
    unknown = sorted(set(splits[int(fold)]["train"] + splits[int(fold)]["val"]) - set(cases))
    if unknown:
        raise UserError(
            f"Fold {fold} of {splits_file} names cases that are not preprocessed: {', '.join(unknown[:5])} "
            f"({len(unknown)} in all). Run nnUNetv2_preprocess again, or make new splits with nnunet_pix2rep split."
        )


def warn_of_leaks(
    training: Sequence[str], validation: Sequence[str], dataset_folder: Path, log: Callable[[str], None]
) -> None:
    """Logs a warning where a patient has images in training and in validation, as in nnU-Net's own case-wise splits."""
    patients = known_patients(dataset_folder, sorted({*training, *validation}))
    leaks = check_patient_leak([{"train": training, "val": validation}], patients)
    if leaks:
        log(
            f"WARNING: {len(leaks)} patient(s) have images in training and in validation, so the validation is too "
            "good to be true. nnunet_pix2rep split --cross-validation makes folds by patient."
        )


def pretraining_cases(cases: Iterable[str], validation_cases: Iterable[str], dataset_folder: Path) -> list[str]:
    """All cases that a pretraining may see in a numbered fold: every case of a patient who is not in validation.

    The training list of the fold does not matter here: a few-shot fold lists its annotated cases, and the images of the
    others are just what pretraining is for.
    """
    cases = sorted(cases)
    validation_cases = set(validation_cases)
    patients = patients_with_pool(dataset_folder, sorted({*cases, *validation_cases}))
    held_out = {patients[case].name for case in validation_cases}
    return [case for case in cases if patients[case].name not in held_out]


def patients_of(cases: Iterable[str], dataset_folder: Path) -> list[str]:
    """Names of the patients whom cases show, sorted."""
    return sorted({patient.name for patient in known_patients(dataset_folder, sorted(cases)).values()})
