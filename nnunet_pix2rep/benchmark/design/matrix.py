"""The matrix of a benchmark, and the pretrainings that it needs.

Method x shots x seed, or, where effort is counted in slices, method x selector x budget x draw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from nnunet_pix2rep.annotation.selectors import FEATURE_SELECTORS
from nnunet_pix2rep.benchmark.design.annotation_sets import AnnotationSet
from nnunet_pix2rep.benchmark.design.few_shot_draws import number_of_shots
from nnunet_pix2rep.benchmark.design.layout import BenchmarkFolder
from nnunet_pix2rep.benchmark.design.methods import PIX2REP_V2, Method
from nnunet_pix2rep.benchmark.design.runs import BenchmarkRun, PlannedCell, Pretraining
from nnunet_pix2rep.benchmark.design.settings import BenchmarkSettings
from nnunet_pix2rep.benchmark.design.training_lengths import BenchmarkPlans
from nnunet_pix2rep.benchmark.schema import ALL_SLICES
from nnunet_pix2rep.nnunet.patients.few_shot_folds import FewShotFold

NOT_ENOUGH_SLICES = "there are {} slices to choose from"
NOTHING_UNLABELED = "all images outside the test set are annotated, which leaves nothing to learn from without labels"
VALIDATION_ONLY = "nnUNetv2_predict, which a folder of test images needs, cannot segment in context"


@dataclass(frozen=True)
class Matrix:
    """All runs, in the order in which they should be done.

    The cells come by seed, so that all methods and shots are there early; a repetition adds certainty.
    """

    pretrainings: tuple[Pretraining, ...]
    cells: tuple[PlannedCell, ...]

    @property
    def runs(self) -> tuple[BenchmarkRun, ...]:
        """Pretrainings first."""
        return (*self.pretrainings, *(cell for cell in self.cells if cell.impossible is None))


class MatrixBuilder:
    """Makes cells for folds.

    Args:
        folder: The benchmark's folder.
        settings: The benchmark.
        plans: Its plans.
        num_unlabeled: Unlabeled images in the pool that may be used.
        num_candidates: Patients outside the validation set.
    """

    def __init__(
        self,
        folder: BenchmarkFolder,
        settings: BenchmarkSettings,
        plans: BenchmarkPlans,
        num_unlabeled: int,
        num_candidates: int,
    ):
        self._folder = folder
        self._settings = settings
        self._plans = plans
        self._num_unlabeled = num_unlabeled
        self._num_candidates = num_candidates

    def build(self, methods: Sequence[Method], folds: Sequence[FewShotFold]) -> Matrix:
        """All methods on all folds, with the pretrainings that serve them."""
        ordered = sorted(folds, key=lambda fold: (fold.seed, number_of_shots(fold)))
        cells = tuple(self._cell(method, fold) for fold in ordered for method in methods)
        needed = (cell.pretraining for cell in cells if cell.pretraining is not None and cell.impossible is None)
        return Matrix(tuple(dict.fromkeys(needed)), cells)

    def build_budgets(self, methods: Sequence[Method], available: Callable[[str, int], int]) -> Matrix:
        """All methods on all annotation sets, with the pretrainings that serve them.

        Args:
            methods: The methods.
            available: Selector and draw -> how many slices there are to choose from.
        """
        cells = []
        for draw, budget, selector in self._choices(available):
            number = available(selector, draw)
            reason = None if 0 < budget <= number else NOT_ENOUGH_SLICES.format(number)
            cells += [
                self._budget_cell(
                    method, budget, selector=selector, draw=draw, impossible=reason or self._why_not_testable(method)
                )
                for method in methods
            ]
        needed = (pretraining for cell in cells if cell.impossible is None for pretraining in cell.prerequisites)
        return Matrix(tuple(dict.fromkeys(needed)), tuple(cells))

    def _choices(self, available: Callable[[str, int], int]) -> Iterator[tuple[int, int, str]]:
        """Draws, budgets and selectors; all slices, or as many, are one draw, whatever the selector."""
        settings, number_of_all = self._settings, available(ALL_SLICES, 0)
        budgets = dict.fromkeys(number_of_all if budget == "all" else budget for budget in settings.budgets or ())
        for draw, budget in product(range(settings.seeds), sorted(budgets)):
            if budget != number_of_all:
                yield from ((draw, budget, selector) for selector in settings.used_selectors)
            elif draw == 0:
                yield draw, budget, ALL_SLICES

    def _budget_cell(
        self, method: Method, budget: int, selector: str, draw: int, impossible: str | None
    ) -> PlannedCell:
        place = Path(selector) / f"slices_{budget}" / f"draw_{draw}"
        features = (
            self._pretraining(PIX2REP_V2, self._pretraining_seed(draw)) if selector in FEATURE_SELECTORS else None
        )
        checkpoint = None if features is None else features.final_checkpoint
        chosen = AnnotationSet(
            selector, budget, draw=draw, folder=self._folder.annotation_sets / place, checkpoint=checkpoint
        )
        return PlannedCell(
            title=f"{method.name}, {budget} slice(s) by {selector}, draw {draw}",
            folder=self._folder.cells / method.folder_name / place,
            dataset=self._settings.dataset,
            configuration=self._settings.configuration,
            plans=self._plans.name_for(method),
            fold=0,
            trainer=method.training,
            iterations=self._plans.lengths.of_method(method).iterations,
            preprocessed=chosen.preprocessed,
            method=method,
            shots=None,
            seed=draw,
            pretraining=self._pretraining_of(method, draw),
            impossible=impossible,
            annotation_set=chosen,
            feature_pretraining=features,
        )

    def _pretraining_seed(self, draw: int) -> int:
        return draw if self._settings.pretraining_per_seed else 0

    def _pretraining_of(self, method: Method, draw: int) -> Pretraining | None:
        if method.pretraining is None:
            return None
        return self._pretraining(method.pretraining, self._pretraining_seed(draw))

    def _cell(self, method: Method, fold: FewShotFold) -> PlannedCell:
        shots = number_of_shots(fold)
        nothing_left = method.needs_unlabeled and shots == self._num_candidates and not self._num_unlabeled
        return PlannedCell(
            title=f"{method.name}, {shots} shot(s), seed {fold.seed}",
            folder=self._folder.cells / method.folder_name / f"shots_{shots}" / f"seed_{fold.seed}",
            dataset=self._settings.dataset,
            configuration=self._settings.configuration,
            plans=self._plans.name_for(method),
            fold=fold.fold,
            trainer=method.training,
            iterations=self._plans.lengths.of_method(method).iterations,
            preprocessed=self._folder.preprocessed,
            method=method,
            shots=shots,
            seed=fold.seed,
            pretraining=self._pretraining_of(method, fold.seed),
            impossible=NOTHING_UNLABELED if nothing_left else self._why_not_testable(method),
        )

    def _why_not_testable(self, method: Method) -> str | None:
        return VALIDATION_ONLY if method.predicts_validation_only and self._settings.test_folder is not None else None

    def _pretraining(self, trainer: str, seed: int) -> Pretraining:
        # All folds hold out the same patients, so the first one stands for all.
        return Pretraining(
            title=f"pretraining {trainer}, seed {seed}",
            folder=self._folder.pretrainings / f"{trainer}__seed_{seed}",
            dataset=self._settings.dataset,
            configuration=self._settings.configuration,
            plans=self._plans.name_for_pretraining(seed),
            fold=0,
            trainer=trainer,
            iterations=self._plans.lengths.pretraining.iterations,
            preprocessed=self._folder.preprocessed,
            seed=seed,
        )
