"""``nnunet_pix2rep split``: writes few-shot folds, or cross-validation folds, that keep patients together."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nnunet_pix2rep.nnunet.patients.few_shot_folds import PatientFold
    from nnunet_pix2rep.nnunet.patients.patients import Patient
    from nnunet_pix2rep.nnunet.patients.split_files import WrittenSplits

HELP = "Write splits_final.json: few-shot folds of patients with one fixed validation set, or cross-validation."
MAX_NAMES = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments; defaults that the library sets are None here."""
    parser.add_argument("-d", required=True, metavar="DATASET", help="Dataset number or name.")
    kind = parser.add_mutually_exclusive_group(required=True)
    kind.add_argument(
        "--shots", nargs="+", type=_shots, metavar="N", help='Numbers of training patients, such as 1 2 5 10, or "all".'
    )
    kind.add_argument(
        "--cross-validation",
        nargs="?",
        const=5,
        type=int,
        metavar="K",
        help="K folds of patients instead, as nnU-Net splits cases. K is 5 if not given.",
    )
    parser.add_argument("--seeds", type=int, metavar="N", help="Random subsets per number of shots. Default: 3.")
    parser.add_argument(
        "--validation",
        type=_number_or_fraction,
        metavar="N",
        help="Validation patients, the same for all few-shot folds: a number, or a fraction such as 0.3. Default: 0.3.",
    )
    parser.add_argument(
        "--train-patients",
        nargs="+",
        metavar="NAME",
        help="Training patients by name, in place of random ones: --shots 3 takes the first three of them.",
    )
    parser.add_argument(
        "--validation-patients",
        nargs="+",
        metavar="NAME",
        help="Validation patients by name, in place of --validation.",
    )
    parser.add_argument("--seed", type=int, metavar="SEED", help="Seed of all random choices. Default: 12345.")
    parser.add_argument(
        "--patient-regex",
        metavar="REGEX",
        help="Regular expression that matches case names from their start; its one group is the patient. "
        "Without it: patients.json beside dataset.json, else the case names.",
    )
    parser.add_argument("--dry-run", action="store_true", help="Print the folds and write nothing.")


def run(arguments: argparse.Namespace) -> int:
    """Makes the folds, prints their table and writes the files."""
    from nnunet_pix2rep.nnunet.data.dataset_folders import preprocessed_folder
    from nnunet_pix2rep.nnunet.patients.split_files import read_dataset_patients, write_splits

    folder = preprocessed_folder(arguments.d)
    patients, source = read_dataset_patients(folder.name, arguments.patient_regex)
    folds, settings = _make_folds(arguments, patients)
    _print_patients(patients, source)
    _print_folds(folds)
    if arguments.dry_run:
        print("Dry run: nothing was written.")
        return 0
    written = write_splits(folder, folds, patients, settings | {"patients_from": source})
    _print_written(folder, written)
    return 0


def _make_folds(arguments: argparse.Namespace, patients: dict[str, Patient]) -> tuple[Sequence[PatientFold], dict]:
    from nnunet_pix2rep.errors import UserError
    from nnunet_pix2rep.nnunet.patients.few_shot_folds import DEFAULT_SEED, cross_validation_splits, few_shot_splits

    seed = DEFAULT_SEED if arguments.seed is None else arguments.seed
    if arguments.cross_validation is None:
        settings = _few_shot_settings(arguments) | {"seed": seed}
        return few_shot_splits(patients, **settings), {"kind": "few-shot"} | settings
    of_few_shot = ("seeds", "validation", "train_patients", "validation_patients")
    given = [f"--{name.replace('_', '-')}" for name in of_few_shot if getattr(arguments, name) is not None]
    if given:
        raise UserError(f"{', '.join(given)}: only with --shots. --cross-validation validates on every patient once.")
    settings = {"num_folds": arguments.cross_validation, "seed": seed}
    return cross_validation_splits(patients, **settings), {"kind": "cross-validation"} | settings


def _few_shot_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    from nnunet_pix2rep.errors import UserError
    from nnunet_pix2rep.nnunet.patients.few_shot_folds import DEFAULT_SEEDS, DEFAULT_VALIDATION

    drawn, named = arguments.validation, arguments.validation_patients
    if drawn is not None and named is not None:
        raise UserError("--validation draws patients and --validation-patients names them: give one of them.")
    default_seeds = DEFAULT_SEEDS if arguments.train_patients is None else 1
    settings = {
        "shots": arguments.shots,
        "seeds": default_seeds if arguments.seeds is None else arguments.seeds,
        "validation": named or (DEFAULT_VALIDATION if drawn is None else drawn),
    }
    return settings if arguments.train_patients is None else settings | {"train_patients": arguments.train_patients}


def _print_patients(patients: dict[str, Patient], source: str) -> None:
    groups = Counter(group for _, group in {(patient.name, patient.group) for patient in patients.values()})
    balance = ", ".join(f"{group or 'no group'} {count}" for group, count in sorted(groups.items(), key=str))
    print(f"{sum(groups.values())} patients with {len(patients)} cases, by {source}")
    if len(groups) > 1:
        print(f"Groups: {balance}")


def _print_folds(folds: Sequence[PatientFold]) -> None:
    from nnunet_pix2rep.nnunet.patients.few_shot_folds import FewShotFold

    print(f"{'fold':>4}  {'shots':>5}  {'seed':>4}  {'cases':>5}  training patients")
    for fold in folds:
        shots, seed = (fold.shots, fold.seed) if isinstance(fold, FewShotFold) else (len(fold.train_patients), "")
        print(f"{fold.fold:>4}  {shots:>5}  {seed:>4}  {len(fold.train_cases):>5}  {_names(fold.train_patients)}")
    validation = folds[0]
    if isinstance(validation, FewShotFold):
        print(
            f"Validation in every fold: {len(validation.validation_patients)} patients with "
            f"{len(validation.validation_cases)} cases: {', '.join(validation.validation_patients)}"
        )


def _print_written(folder: Path, written: WrittenSplits) -> None:
    from nnunet_pix2rep.nnunet.data.dataset_folders import raw_folder
    from nnunet_pix2rep.nnunet.patients.split_files import SPLITS_FILE

    for backup in written.backups:
        print(f"Replaced an earlier file; it is kept as {backup}")
    if any(backup.name.startswith("splits_final") for backup in written.backups):
        print("Results of folds of the earlier split may belong to other cases now: check before you compare.")
    for path in written.written:
        print(f"Wrote {path}")
    if not written.written:
        print(f"{folder / SPLITS_FILE} holds these folds already: nothing was written.")
    raw = raw_folder(folder.name)
    if raw is not None and (raw / SPLITS_FILE).is_file():
        # _maybe_copy_splits_file in nnunetv2/experiment_planning/experiment_planners/default_experiment_planner.py
        print(
            f"Warning: nnU-Net's planners stop where {raw / SPLITS_FILE} has other folds. Move it away to plan again."
        )


def _names(names: Sequence[str]) -> str:
    return ", ".join(names[:MAX_NAMES]) + (f" and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else "")


def _shots(text: str) -> int | str:
    if text == "all":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f'{text!r} is neither a whole number nor "all"') from None


def _number_or_fraction(text: str) -> int | float:
    try:
        return int(text) if text.lstrip("+-").isdigit() else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None
