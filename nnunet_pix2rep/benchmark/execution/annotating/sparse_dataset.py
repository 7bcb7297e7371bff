"""A preprocessed dataset in which nothing but an annotation set is annotated.

The benchmark's own dataset with nnU-Net's ignore label added. The annotated cases are preprocessed again as ``collect``
preprocesses them, with labels that are to be ignored everywhere but in the chosen slices. So are the validation cases,
with all their labels, once for all such datasets: with an ignore label, nnU-Net's loader wants to know of every case
where it is annotated. All other cases are links to what the user has preprocessed; no training sees their labels, since
they are in no fold.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock

from nnunet_pix2rep.annotation.collect.preprocess import Target, preprocess_case
from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.benchmark.design.linked_dataset import COPIED_FILES, REFERENCES, copy_pool, link
from nnunet_pix2rep.benchmark.execution.annotating.candidates import CandidateScan
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.plans.plans_file import resolve_configuration
from nnunet_pix2rep.nnunet.unlabeled.pool import pool_folder, read_pool

IGNORE = "ignore"
LABELS = "labels"
SUFFIXES = (".b2nd", "_seg.b2nd", ".pkl")  # nnUNetDatasetBlosc2, nnunetv2 2.8.1, training/dataloading/nnunet_dataset.py


@dataclass(frozen=True)
class SparseDataset:
    """Writes such datasets.

    Attributes:
        source: The benchmark's own preprocessed dataset.
        images: Case -> its raw image files, one per channel.
        plans: Content of the user's plans.
        configuration: Name of the configuration.
        fully_labeled: Folder that gets what is preprocessed of the validation cases, for all datasets.
        validation: The validation cases.
    """

    source: Path
    images: Mapping[str, Sequence[Path]]
    plans: Mapping[str, Any]
    configuration: str
    fully_labeled: Path
    validation: Sequence[CandidateScan]

    def write(
        self, target: Path, chosen: Mapping[CandidateScan, Sequence[int]], watch: Callable[[], None] = lambda: None
    ) -> None:
        """Writes the preprocessed dataset.

        Args:
            target: Its folder; what an interrupted attempt has left there is removed.
            chosen: The annotated scans and their annotated slices.
            watch: Called for each case.

        Raises:
            UserError: a raw image or preprocessed data is missing.
        """
        if target.exists():
            shutil.rmtree(target)
        target.mkdir(parents=True)
        for name in COPIED_FILES:
            if (self.source / name).is_file():
                shutil.copyfile(self.source / name, target / name)
        dataset_json = with_ignore_label(read_json(self.source / "dataset.json"))
        write_json(dataset_json, target / "dataset.json")
        identifier = resolve_configuration(dict(self.plans), self.configuration)["data_identifier"]
        link(self.source / REFERENCES, target / REFERENCES)
        if (pool := read_pool(pool_folder(self.source, identifier))) is not None:
            copy_pool(pool, target, pool.images)
        data = target / identifier
        data.mkdir()
        ready = self._preprocess_validation(identifier, dataset_json, watch)
        self._link_others(data, {scan.case for scan in chosen}, ready)
        for scan, indices in chosen.items():
            watch()
            labels = self._write_labels(scan, indices, target, dataset_json)
            self._preprocess(scan, labels, data, dataset_json)

    def _preprocess_validation(self, identifier: str, dataset_json: dict[str, Any], watch: Callable[[], None]) -> Path:
        """The validation cases with all labels, where nnU-Net looks for annotated voxels too; returns their folder."""
        folder = self.fully_labeled / identifier
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.fully_labeled / ".lock"):
            for scan in self.validation:
                watch()
                labels = self.source / REFERENCES / f"{scan.case}{dataset_json['file_ending']}"
                self._preprocess(scan, labels, folder, dataset_json)
        return folder

    def _link_others(self, data: Path, annotated: set[str], ready: Path) -> None:
        """Links the cases that are not annotated: those of the validation set, and what the user has preprocessed."""
        validation = {scan.case for scan in self.validation}
        ending = SUFFIXES[-1]
        source = self.source / data.name
        for case in sorted(file.name.removesuffix(ending) for file in source.glob(f"*{ending}")):
            if case in annotated:
                continue
            folder = ready if case in validation else source
            for suffix in SUFFIXES:
                if not (folder / f"{case}{suffix}").is_file():
                    raise UserError(
                        f"{folder} has no {case}{suffix}. Preprocess the dataset again with this version of nnU-Net."
                    )
                link(folder / f"{case}{suffix}", data / f"{case}{suffix}")

    def _write_labels(
        self, scan: CandidateScan, indices: Sequence[int], target: Path, dataset_json: dict[str, Any]
    ) -> Path:
        files = LabelFiles(dataset_json, self.plans["image_reader_writer"])
        name = f"{scan.case}{files.file_ending}"
        volume = files.read(self.source / REFERENCES / name)
        labels = keep_slices(volume.labels, scan.axis, indices, dataset_json["labels"][IGNORE])
        files.write(labels, target / LABELS / name, volume.properties)
        return target / LABELS / name

    def _preprocess(self, scan: CandidateScan, labels: Path, data: Path, dataset_json: dict[str, Any]) -> None:
        images = self.images.get(scan.case)
        if not images:
            raise UserError(f"The raw dataset has no image of {scan.case}, which --budget needs to preprocess it.")
        place = Target(data, deepcopy(dict(self.plans)), self.configuration)
        preprocess_case(
            place, scan.case, image_files=images, label_file=labels, axis=scan.axis, dataset_json=dataset_json
        )


def with_ignore_label(dataset_json: Mapping[str, Any]) -> dict[str, Any]:
    """``dataset.json`` with nnU-Net's ignore label, which must be the highest integer."""
    labels = dict(dataset_json["labels"])
    if IGNORE not in labels:
        labels[IGNORE] = int(np.max(np.hstack(list(labels.values())))) + 1
    return {**dataset_json, "labels": labels}


def keep_slices(labels: np.ndarray, axis: int, indices: Sequence[int], ignore_label: int) -> np.ndarray:
    """Labels (Z, Y, X) in some slices along an axis; all others are to be ignored."""
    kept = np.full_like(labels, ignore_label)
    place = (slice(None),) * axis + (list(indices),)
    kept[place] = labels[place]
    return kept
