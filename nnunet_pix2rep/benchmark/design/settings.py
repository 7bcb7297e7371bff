"""What a benchmark is asked to do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from nnunet_pix2rep.benchmark.design.annotation_sets import DEFAULT_SELECTORS, check_selectors
from nnunet_pix2rep.benchmark.design.methods import DEFAULT_METHODS
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.patients.few_shot_folds import DEFAULT_SEED, DEFAULT_SEEDS, DEFAULT_VALIDATION, Shots

DEFAULT_SHOTS: tuple[Shots, ...] = (1, 2, 5, 10, "all")
DEFAULT_SURFACE_TOLERANCE = 2.0


@dataclass(frozen=True)
class BenchmarkSettings:
    """What the results depend on.

    Attributes:
        dataset: nnU-Net's full name of the dataset.
        configuration: Configuration of the plans.
        plans: Name of the plans.
        methods: Names of the methods.
        shots: Numbers of labeled patients; None: those of ``DEFAULT_SHOTS`` that the dataset has patients for.
        seeds: Draws of labeled patients for each number, or of slices for each budget.
        iterations: Length of the supervised stage; None: as the plans say.
        pretraining_iterations: Length of the self-supervised stage; None: as the plans say.
        test: A folder of test images and labels, the names of the dataset's patients to test on (tuple), or their
            number (int) or part (float), drawn as ``nnunet_pix2rep split`` draws validation patients.
        split_seed: Seed of the draws of patients.
        patient_regex: Finds the patient in the name of a case, as in ``nnunet_pix2rep split``.
        pretraining_per_seed: Whether each draw gets a pretraining with a seed of its own instead of the one for all.
        surface_tolerance: Tolerance of the surface Dice in mm.
        budgets: Numbers of annotated slices, in place of numbers of labeled patients; ``"all"``: every slice that has
            labels.
        selectors: What chooses slices where a number is given; None: ``DEFAULT_SELECTORS``.
        train_patients: Names of the labeled patients, of whom N shots are the first N; None: they are drawn.
    """

    dataset: str
    configuration: str
    plans: str = "nnUNetPlans"
    methods: tuple[str, ...] = DEFAULT_METHODS
    shots: tuple[Shots, ...] | None = None
    seeds: int = DEFAULT_SEEDS
    iterations: int | None = None
    pretraining_iterations: int | None = None
    test: int | float | Path | tuple[str, ...] = DEFAULT_VALIDATION
    split_seed: int = DEFAULT_SEED
    patient_regex: str | None = None
    pretraining_per_seed: bool = False
    surface_tolerance: float = DEFAULT_SURFACE_TOLERANCE
    budgets: tuple[int | Literal["all"], ...] | None = None
    selectors: tuple[str, ...] | None = None
    train_patients: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        self._check_effort()
        for name in ("iterations", "pretraining_iterations"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UserError(f"--{name.replace('_', '-')} must be at least 1, but is {value}.")
        if not self.surface_tolerance > 0:
            raise UserError(f"--surface-tolerance must be above 0 mm, but is {self.surface_tolerance}.")

    def _check_effort(self) -> None:
        if self.budgets is None:
            if self.selectors is not None:
                raise UserError("--select says which slices a --budget is spent on; give --budget too.")
            return
        if self.train_patients is not None:
            raise UserError(
                "--train-patients goes with --shots; with --budget, --select says which slices are annotated."
            )
        if self.shots is not None:
            raise UserError("--budget counts annotated slices and --shots labeled patients: give one of them.")
        if not self.budgets or not all(map(_is_budget, self.budgets)):
            raise UserError(
                f"--budget must be numbers from 1 up, or all, but is {' '.join(map(str, self.budgets)) or 'empty'}."
            )
        if self.seeds < 1:
            raise UserError(f"--seeds must be at least 1, but is {self.seeds}.")
        check_selectors(DEFAULT_SELECTORS if self.selectors is None else self.selectors)

    @property
    def used_selectors(self) -> tuple[str, ...]:
        """The selectors, or what stands in for them; none where all slices are annotated."""
        if all(budget == "all" for budget in self.budgets or ()):
            return ()
        return DEFAULT_SELECTORS if self.selectors is None else self.selectors

    @property
    def test_folder(self) -> Path | None:
        """The folder of test images and labels, if that is what was given."""
        return self.test.resolve() if isinstance(self.test, Path) else None

    def shared(self) -> dict[str, Any]:
        """What all runs in one folder have in common, as JSON gives it back.

        Methods, shots or budgets, selectors and seeds may be added.
        """
        return {
            "dataset": self.dataset,
            "configuration": self.configuration,
            "plans": self.plans,
            "iterations": self.iterations,
            "pretraining_iterations": self.pretraining_iterations,
            "test": self._recorded_test(),
            "split_seed": self.split_seed,
            "patient_regex": self.patient_regex,
            "pretraining_per_seed": self.pretraining_per_seed,
            "surface_tolerance": self.surface_tolerance,
            # Benchmarks of older versions count patients and do not say so.
            **({} if self.budgets is None else {"effort": "slices"}),
            **({} if self.train_patients is None else {"train_patients": list(self.train_patients)}),
        }

    def _recorded_test(self) -> int | float | str | list[str]:
        if isinstance(self.test, tuple):
            return list(self.test)
        return str(self.test.resolve()) if isinstance(self.test, Path) else self.test


def _is_budget(budget: object) -> bool:
    return budget == "all" or (isinstance(budget, int) and budget >= 1)
