"""Making an annotation set when the first cell needs it."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from nnunet_pix2rep.annotation.selectors import SELECTORS
from nnunet_pix2rep.annotation.slices import Slice
from nnunet_pix2rep.benchmark.design.annotation_sets import AnnotationSet, patients_left_out
from nnunet_pix2rep.benchmark.design.linked_dataset import expression_of_patients, record_of_expression
from nnunet_pix2rep.benchmark.execution.annotating.candidates import CandidateScan, pool_of
from nnunet_pix2rep.benchmark.execution.annotating.features import CandidateFeatures
from nnunet_pix2rep.benchmark.execution.annotating.sparse_dataset import SparseDataset
from nnunet_pix2rep.benchmark.schema import ALL_SLICES
from nnunet_pix2rep.files import atomic_path, write_json
from nnunet_pix2rep.nnunet.patients.few_shot_folds import FewShotFold
from nnunet_pix2rep.nnunet.patients.patients import Patient
from nnunet_pix2rep.nnunet.patients.split_files import write_splits

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Annotator:
    """Annotates what selectors choose, from labels that are there.

    Attributes:
        candidates: The scans outside the test set.
        patients: The patient of every case of the dataset.
        fold: The fold that holds out the test patients.
        dataset: Writes datasets.
        features: Describes slices for selectors that look at features.
        seed: Of the draws.
    """

    candidates: Sequence[CandidateScan]
    patients: Mapping[str, Patient]
    fold: FewShotFold
    dataset: SparseDataset
    features: CandidateFeatures
    seed: int

    def available(self, selector: str, draw: int) -> int:
        """How many slices a selector may choose from in a draw."""
        return sum(len(scan.slices) for scan in self._scans(selector, draw))

    def prepare(
        self, annotation_set: AnnotationSet, dataset: str, plans: str, watch: Callable[[], None] = lambda: None
    ) -> None:
        """Makes an annotation set, unless it is there, and brings the plans of a training into it.

        Args:
            annotation_set: The set; a pretraining that its selector needs must be done.
            dataset: nnU-Net's name of the dataset.
            plans: Name of the plans.
            watch: Called now and then; an exception of it stops the work, which is then done again.

        Raises:
            UserError: images or labels are missing, or the budget is larger than there is.
        """
        target = annotation_set.preprocessed / dataset
        annotation_set.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(annotation_set.folder / ".lock"):
            if annotation_set.record is None:
                self._make(annotation_set, target, watch)
            plans_file = target / f"{plans}.json"
            if not plans_file.is_file():
                with atomic_path(plans_file) as temporary:
                    shutil.copyfile(self.dataset.source / plans_file.name, temporary)

    def choose(self, annotation_set: AnnotationSet) -> list[Slice]:
        """The slices of a set, in order of importance.

        Raises:
            UserError: the budget is larger than there is.
        """
        scans = self._scans(annotation_set.selector, annotation_set.draw)
        if annotation_set.checkpoint is None:
            pool, slices = pool_of(scans)
        else:
            pool, slices = self.features.pool_of(scans, annotation_set.checkpoint, annotation_set.budget)
        if annotation_set.selector == ALL_SLICES:
            return slices
        generator = torch.Generator().manual_seed(self.seed + annotation_set.draw)
        order = SELECTORS[annotation_set.selector](pool, annotation_set.budget, generator)
        return [slices[index] for index in order]

    def _scans(self, selector: str, draw: int) -> list[CandidateScan]:
        left_out = self._left_out(selector, draw)
        return [scan for scan in self.candidates if scan.patient not in left_out]

    def _left_out(self, selector: str, draw: int) -> list[str]:
        return patients_left_out((scan.patient for scan in self.candidates), selector, draw, self.seed)

    def _make(self, annotation_set: AnnotationSet, target: Path, watch: Callable[[], None]) -> None:
        slices = self.choose(annotation_set)
        indices = defaultdict(list)
        for chosen in slices:
            indices[chosen.case].append(chosen.index)
        scans = {scan: sorted(indices[scan.case]) for scan in self.candidates if scan.case in indices}
        self.dataset.write(target, scans, watch)
        patients = sorted({scan.patient for scan in scans})
        fold = FewShotFold(
            fold=0,
            train_patients=tuple(patients),
            validation_patients=self.fold.validation_patients,
            train_cases=tuple(sorted(indices)),
            validation_cases=self.fold.validation_cases,
            shots=len(patients),
            seed=annotation_set.draw,
        )
        expression = record_of_expression(expression_of_patients(self.dataset.source, None))
        write_splits(target, [fold], self.patients, {"kind": "annotation set", "seed": self.seed, **expression})
        write_json(self._record(annotation_set, slices, patients), annotation_set.record_file)

    def _record(self, annotation_set: AnnotationSet, slices: Sequence[Slice], patients: list[str]) -> dict[str, Any]:
        checkpoint = annotation_set.checkpoint
        return {
            "format_version": FORMAT_VERSION,
            "selector": annotation_set.selector,
            "budget": annotation_set.budget,
            "draw": annotation_set.draw,
            "seed": self.seed + annotation_set.draw,
            "patients": patients,
            "patients_left_out": self._left_out(annotation_set.selector, annotation_set.draw),
            "slices": [{"case": chosen.case, "index": chosen.index} for chosen in slices],
            "checkpoint": None if checkpoint is None else str(checkpoint),
        }
