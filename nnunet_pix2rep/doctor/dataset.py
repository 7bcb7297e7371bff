"""Checks of a dataset: plans, preprocessed data, splits, unlabeled images."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import Any

from batchgenerators.utilities.file_and_folder_operations import subfiles
from nnunetv2.paths import nnUNet_preprocessed
from torch import nn

from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.doctor.case_names import check_case_names, hidden_cases
from nnunet_pix2rep.doctor.findings import Finding, Level, error, ok, problem_of, shorten, warning
from nnunet_pix2rep.doctor.folds import check_folds, remedy_of_splits
from nnunet_pix2rep.doctor.plans import PlansCheck
from nnunet_pix2rep.doctor.sparse_labels import check_sparse_labels
from nnunet_pix2rep.doctor.unlabeled import check_fold_without_labels, check_intensities, check_pool, has_pool
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.dataset_folders import (
    dataset_name_of,
    is_without_labels,
    labeled_cases,
    preprocessed_folder,
    raw_folder,
    training_cases,
)
from nnunet_pix2rep.nnunet.data.preprocessed_images import preprocessed_cases
from nnunet_pix2rep.nnunet.networks.planned_network import PlannedNetwork

PLAN_UNLABELED = "nnunet_pix2rep plan_unlabeled -d {d} -c {c}"
WITHOUT_LABELS = (
    "pretrain with nnUNetv2_train {d} {c} all -p {p} -tr nnUNetTrainerPix2RepV2Pretrain, if that is not done; then "
    "choose what to annotate with nnunet_pix2rep suggest -d {d} -c {c} -p {p} --slices 20"
)


class DatasetCheck:
    """The checks of a configuration of a dataset; a check whose basis is missing is left out.

    Args:
        dataset_name_or_id: nnU-Net's dataset, by name or number.
        configuration: Such as ``2d``.
        plans_name: The plans.
        fold: A fold to look at closely; None: all folds of the splits file.
    """

    def __init__(self, dataset_name_or_id: str, configuration: str, plans_name: str, fold: int | str | None = None):
        self.dataset = dataset_name_or_id
        self.configuration = configuration
        self.plans_name = plans_name
        self.fold = fold
        self.folder: Path | None = None
        self.planned: PlannedNetwork | None = None
        self.network: nn.Module | None = None
        self.config: Pix2RepConfig | None = None
        self.cases: list[str] = []
        self.has_labels = True

    def run(self) -> list[Finding]:
        """All findings, in the order in which they should be fixed."""
        findings = self.check_folder()
        if self.folder is not None:
            findings += self.check_plans()
            findings += self.check_preprocessed()
            if self.planned is not None:
                remedy = self.command("nnunet_pix2rep collect -d {d}")
                findings += check_sparse_labels(self.folder, self.planned, self.cases, remedy)
            findings += self.check_splits()
            if self.planned is not None:
                remedy = self.command("nnunet_pix2rep preprocess_unlabeled -d {d} -c {c} -p {p}")
                elsewhere = self.command("nnunet_pix2rep doctor -d {d} -p {p} -c ")
                findings += check_pool(
                    self.folder, self.planned, labeled=self.cases, remedy=remedy, elsewhere=elsewhere
                )
                findings += check_intensities(self.folder, self.planned, self.command(PLAN_UNLABELED))
                if not self.has_labels and not any(finding.level is Level.ERROR for finding in findings):
                    findings.append(ok("next", self.command(WITHOUT_LABELS)))
        return findings

    def command(self, text: str) -> str:
        """A command of nnU-Net's or of this package's for this dataset, which takes its number or its name."""
        number = self.folder.name[len("Dataset") :][:3] if self.folder is not None else self.dataset
        fold = "FOLD" if self.fold is None else self.fold
        names = {"c": self.configuration, "p": self.plans_name, "f": fold}
        return text.format(d=int(number) if number.isdigit() else number, **names)

    def _planning(self, with_labels: str) -> str:
        """The command that plans the dataset, by its images alone if it has no labels."""
        without_labels = not problem_of(lambda: dataset_name_of(self.dataset)) and is_without_labels(
            dataset_name_of(self.dataset)
        )
        return self.command(PLAN_UNLABELED if without_labels else with_labels)

    def check_folder(self) -> list[Finding]:
        """The dataset itself, raw and preprocessed."""
        try:
            folder = preprocessed_folder(self.dataset)
        except UserError as problem:
            return [error("dataset", str(problem), self._remedy_of_no_folder())]
        self.folder = folder  # for the commands that remedies name
        try:
            read_json(folder / "dataset.json")
            self.has_labels = bool(labeled_cases(folder.name))
            cases = training_cases(folder.name) if self.has_labels or not has_pool(folder) else []
        except UserError as problem:
            remedy = self._remedy_of_dataset(folder)
            self.folder = None  # nothing else can be checked
            return [error("dataset", str(problem), remedy)]
        found = ok("dataset", f"{self.folder.name} with {len(cases) or 'no'} training cases{'' if cases else ' yet'}")
        if raw_folder(self.folder.name) is None:
            message = f"The raw data of {self.folder.name} is not in nnUNet_raw; nothing can be preprocessed again."
            return [found, warning("dataset", message, "export nnUNet_raw=/path/to/nnUNet_raw")]
        return [found]

    def _remedy_of_no_folder(self) -> str:
        if nnUNet_preprocessed.is_set() and problem_of(lambda: dataset_name_of(self.dataset)) is not None:
            return self.command("nnunet_pix2rep new_dataset -i SCANS -d {d} ..., or put the dataset into nnUNet_raw")
        return self._planning("nnUNetv2_plan_and_preprocess -d {d}")

    def _remedy_of_dataset(self, folder: Path) -> str:
        """Planning again would replace the plans, so that what is missing or damaged is restored by itself."""
        raw = raw_folder(folder.name)
        if problem_of(lambda: read_json(folder / "dataset.json")) is None:
            return self._planning("nnUNetv2_plan_and_preprocess -d {d}")
        if raw is not None and problem_of(lambda: read_json(raw / "dataset.json")) is None:
            return f"cp {shlex.quote(str(raw / 'dataset.json'))} {shlex.quote(str(folder))}"
        return f"restore {folder / 'dataset.json'}; every nnU-Net checkpoint of the dataset has a copy beside it"

    def check_plans(self) -> list[Finding]:
        """Plans, configuration, the settings of Pix2Rep, and the network."""
        assert self.folder is not None
        file = self.folder / f"{self.plans_name}.json"
        check = PlansCheck(file, self.configuration, self.command, self._planning("nnUNetv2_plan_experiment -d {d}"))
        findings = check.run()
        self.planned, self.network, self.config = check.planned, check.network, check.config
        return findings

    def check_preprocessed(self) -> list[Finding]:
        """Whether every training case is preprocessed and can be opened."""
        if self.planned is None or not self.has_labels:
            return []
        assert self.folder is not None
        remedy = self.command("nnUNetv2_preprocess -d {d} -plans_name {p} -c {c}")
        data = self.folder / self.planned.settings["data_identifier"]
        try:
            images = preprocessed_cases(str(data))
        except UserError as problem:
            return [error("preprocessing", str(problem), remedy)]
        self.cases = [image.identifier for image in images]
        wanted = training_cases(self.folder.name)
        findings = []
        findings += check_case_names(wanted, remedy)
        hidden = hidden_cases(wanted)
        if missing := sorted(set(wanted) - set(self.cases) - set(hidden)):
            message = f"{len(missing)} of {len(wanted)} cases are not preprocessed in {data}: {shorten(missing)}."
            findings.append(error("preprocessing", message, remedy))
        if unknown := sorted(set(self.cases) - set(wanted)):
            message = f"{len(unknown)} preprocessed cases are no training cases (any more): {shorten(unknown)}."
            findings.append(warning("preprocessing", message, remedy))
        broken = [text for text in (problem_of(partial(self._open, image)) for image in images) if text]
        findings += [error("preprocessing", text, remedy) for text in broken[:3]]
        findings += self._check_ground_truth(wanted)
        return findings or [ok("preprocessing", f"all {len(wanted)} cases in {data.name}")]

    def _open(self, image: Any) -> None:
        assert self.planned is not None
        num_channels = image.open().shape[0]
        if num_channels != self.planned.num_input_channels:
            raise UserError(
                f"The preprocessed image of {image.identifier} has {num_channels} channels, but dataset.json names "
                f"{self.planned.num_input_channels}."
            )

    def _check_ground_truth(self, cases: list[str]) -> list[Finding]:
        assert self.folder is not None
        folder, ending = self.folder / "gt_segmentations", read_json(self.folder / "dataset.json")["file_ending"]
        there = set(subfiles(str(folder), suffix=ending, join=False)) if folder.is_dir() else set()
        missing = [case for case in cases if f"{case}{ending}" not in there]
        if not missing:
            return []
        message = f"{len(missing)} of {len(cases)} cases have no label in {folder}: nnU-Net's validation will fail."
        return [error("preprocessing", message, self.command("nnUNetv2_preprocess -d {d} -plans_name {p} -c {c}"))]

    def check_splits(self) -> list[Finding]:
        """Folds against the preprocessed cases, the patients and the results that are there."""
        assert self.folder is not None
        if not self.has_labels:
            return check_fold_without_labels(self.folder, self.fold)
        if not self.cases:
            return []
        remedy = remedy_of_splits(self.folder, self.command("nnunet_pix2rep split -d {d}"))
        return check_folds(self.folder, self.fold, cases=self.cases, plans_name=self.plans_name, remedy=remedy)
