"""Which patients are labeled in which cell: the few-shot folds of ``nnunet_pix2rep split``.

The folds share one validation set. It is the test set where test patients are drawn from the dataset; nnU-Net needs one
beside a test folder too, and then it is one patient, who is only looked at.

Draws of different seeds are not independent. Each is a random subset, balanced over groups, but the patients of later
draws are those who came late in the earlier ones (nnunet/patients/few_shot_folds.py), so that draws overlap as little
as they can: while seeds x shots is no more than the number of patients, hardly at all. The mean over such draws is a
little more certain than a bootstrap that takes them for independent says. With shots near the number of patients the
draws share most patients, and their mean is less certain than that bootstrap says. "all" is a single draw, and so are
patients whom the user names.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from nnunet_pix2rep.benchmark.design.settings import DEFAULT_SHOTS, BenchmarkSettings
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.patients.few_shot_folds import FewShotFold, Shots, few_shot_splits
from nnunet_pix2rep.nnunet.patients.patients import Patient

PATIENTS_TO_LOOK_AT = 1
"""nnU-Net's validation set where there is a test folder. Nothing is chosen by it."""


def draw_folds(patients: Mapping[str, Patient], settings: BenchmarkSettings) -> list[FewShotFold]:
    """The folds of a benchmark.

    Args:
        patients: The patient of every case of the dataset.
        settings: How many shots and seeds, and whom to test on.

    Raises:
        UserError: more shots than patients, or an argument out of its range.
    """
    validation = PATIENTS_TO_LOOK_AT if isinstance(settings.test, Path) else settings.test
    draw = partial(
        few_shot_splits,
        patients,
        validation=validation,
        seed=settings.split_seed,
        train_patients=settings.train_patients,
    )
    try:
        (whole,) = draw(["all"], seeds=1)
        if settings.budgets is not None:
            return [whole]  # pretrainings need it; which slices are annotated is no matter of folds
        num_patients = len(whole.train_patients)
        wanted = settings.shots if settings.shots is not None else default_shots(num_patients, settings.train_patients)
        return draw(normalize_shots(wanted, num_patients), seeds=settings.seeds)
    except UserError as error:
        # few_shot_splits names the options of nnunet_pix2rep split
        raise UserError(str(error).replace("--validation", "--test")) from error


def default_shots(num_patients: int, named: Sequence[str] | None = None) -> list[Shots]:
    """What is taken where nothing is asked for: all who are named, else the default numbers that can be drawn."""
    if named is not None:
        return [len(named)]
    return [number for number in DEFAULT_SHOTS if number == "all" or number < num_patients]


def normalize_shots(shots: Sequence[Shots], num_patients: int) -> list[Shots]:
    """Shots with the number of all patients turned into ``"all"``, whose subset is the same for every seed."""
    return list(dict.fromkeys("all" if number == num_patients else number for number in shots))


def number_of_shots(fold: FewShotFold) -> int:
    """The number of labeled patients, of ``"all"`` too."""
    return len(fold.train_patients)


def key_of(fold: FewShotFold) -> str:
    """``shots_seed``, which names a fold in ``benchmark.json``."""
    return f"{number_of_shots(fold)}_{fold.seed}"


def add_folds(earlier: Sequence[FewShotFold], drawn: Sequence[FewShotFold]) -> list[FewShotFold]:
    """The earlier folds with the drawn ones behind them that are new.

    A fold keeps its number, since nnU-Net's results lie under it.

    Raises:
        UserError: the same shots and seed have other patients now, or the test patients are others.
    """
    folds = list(earlier)
    known = {key_of(fold): fold for fold in earlier}
    for fold in drawn:
        before = known.get(key_of(fold))
        # With more patients in the dataset "all" is another number: a draw that looks new, of other test patients.
        tests_on_others = bool(earlier) and fold.validation_cases != earlier[0].validation_cases
        if tests_on_others or (before is not None and _content(before) != _content(fold)):
            raise UserError(
                f"The draw of {number_of_shots(fold)} shot(s), seed {fold.seed}, has other patients than when this "
                "benchmark was begun: the dataset's cases or its patients.json have changed. Use a new folder with -o."
            )
        if before is None:
            folds.append(replace(fold, fold=len(folds)))
    return folds


def _content(fold: FewShotFold) -> dict[str, Any]:
    return {name: getattr(fold, name) for name in ("train_cases", "validation_cases")}
