"""A preprocessed dataset in which nothing but an annotation set is annotated.

The benchmark's own dataset with nnU-Net's ignore label added. The annotated cases are preprocessed anew by nnU-Net,
with labels that are to be ignored everywhere but in the chosen slices; all other cases, the test patients' among them,
are links to what the user has preprocessed. Trainings see the labels of the cases in their fold only, which are the
annotated ones.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.benchmark.design.linked_dataset import COPIED_FILES, REFERENCES, link, link_pool
from nnunet_pix2rep.benchmark.execution.annotating.candidates import CandidateScan
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json

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
    """

    source: Path
    images: Mapping[str, Sequence[Path]]
    plans: Mapping[str, Any]
    configuration: str

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
            shutil.rmtree(target)  # blosc2 does not write over its files
        target.mkdir(parents=True)
        for name in COPIED_FILES:
            if (self.source / name).is_file():
                shutil.copyfile(self.source / name, target / name)
        dataset_json = with_ignore_label(read_json(self.source / "dataset.json"))
        write_json(dataset_json, target / "dataset.json")
        plans_manager = PlansManager(dict(self.plans))
        identifier = plans_manager.get_configuration(self.configuration).data_identifier
        link(self.source / REFERENCES, target / REFERENCES)
        link_pool(self.source, target, identifier, set())
        data = target / identifier
        data.mkdir()
        self._link_others(data, {scan.case for scan in chosen})
        for scan, indices in chosen.items():
            watch()
            self._preprocess(scan, indices, target, dataset_json, plans_manager)

    def _link_others(self, data: Path, annotated: set[str]) -> None:
        ending = SUFFIXES[-1]
        source = self.source / data.name
        for case in sorted(file.name.removesuffix(ending) for file in source.glob(f"*{ending}")):
            if case in annotated:
                continue
            for suffix in SUFFIXES:
                if not (source / f"{case}{suffix}").is_file():
                    raise UserError(
                        f"{source} has no {case}{suffix}. Preprocess the dataset again with this version of nnU-Net."
                    )
                link(source / f"{case}{suffix}", data / f"{case}{suffix}")

    def _preprocess(
        self,
        scan: CandidateScan,
        indices: Sequence[int],
        target: Path,
        dataset_json: dict[str, Any],
        plans_manager: PlansManager,
    ) -> None:
        files = LabelFiles(dataset_json, self.plans["image_reader_writer"])
        name = f"{scan.case}{files.file_ending}"
        volume = files.read(self.source / REFERENCES / name)
        labels = keep_slices(volume.labels, scan.axis, indices, dataset_json["labels"][IGNORE])
        files.write(labels, target / LABELS / name, volume.properties)
        images = self.images.get(scan.case)
        if not images:
            raise UserError(f"The raw dataset has no image of {scan.case}, which --budget needs to preprocess it.")
        configuration = plans_manager.get_configuration(self.configuration)
        configuration.preprocessor_class(verbose=False).run_case_save(
            str(target / configuration.data_identifier / scan.case),
            [str(file) for file in images],
            str(target / LABELS / name),
            plans_manager,
            configuration,
            dataset_json,
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
