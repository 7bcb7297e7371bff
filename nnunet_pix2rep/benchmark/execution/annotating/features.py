"""The slices of candidates with the features of a pretraining, for selectors that look at them.

Features are computed on the processor, once for each pretraining, and kept in the benchmark's folder. All pixels count
the same, since nobody is there to click on the structure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock

from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.annotation.selectors import SlicePool
from nnunet_pix2rep.annotation.slices import Slice
from nnunet_pix2rep.annotation.suggest.features.pool_features import build_pool
from nnunet_pix2rep.annotation.suggest.features.slice_features import FeatureCache, SamplingSettings
from nnunet_pix2rep.annotation.suggest.grid import read_grid
from nnunet_pix2rep.annotation.suggest.scans import Scan
from nnunet_pix2rep.benchmark.execution.annotating.candidates import CandidateScan
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase
from nnunet_pix2rep.nnunet.features.model import load_feature_model


@dataclass(frozen=True)
class CandidateFeatures:
    """Describes candidates by a pretraining.

    Attributes:
        folder: Gets the features.
        data: Folder of the preprocessed images.
        images: Case -> its raw image files.
        dataset_json: Of the benchmark's own dataset.
        plans: Content of the user's plans.
        seed: Of the pixels that are drawn.
    """

    folder: Path
    data: Path
    images: Mapping[str, Sequence[Path]]
    dataset_json: Mapping[str, Any]
    plans: Mapping[str, Any]
    seed: int

    def pool_of(
        self, candidates: Sequence[CandidateScan], checkpoint: Path, budget: int
    ) -> tuple[SlicePool, list[Slice]]:
        """The slices with features, and which slice each entry is.

        Args:
            candidates: The scans.
            checkpoint: Of the pretraining.
            budget: How many slices will be chosen. As in ``nnunet_pix2rep suggest``, evenly spaced slices stand for
                scans of many, unless they are fewer than that.
        """
        most = SamplingSettings.slices_per_scan
        if sum(min(len(scan.slices), most) for scan in candidates) < budget:
            most = max(scan.num_slices for scan in candidates)
        folder = self.folder / f"{checkpoint.parent.parent.name}_{most}_slices"
        folder.mkdir(parents=True, exist_ok=True)
        scans = [self._scan(candidate) for candidate in candidates]
        with FileLock(folder / ".lock"):
            model = load_feature_model(checkpoint, None, torch.device("cpu"))
            files = LabelFiles(self.dataset_json, self.plans["image_reader_writer"])
            cache = FeatureCache(folder, model, files, SamplingSettings(slices_per_scan=most, seed=self.seed))
            cache.compute(scans)
            found = build_pool(scans, cache, self.seed)
        allowed = {Slice(scan.case, index) for scan in candidates for index in scan.slices}
        kept = [place for place, entry in enumerate(found.slices) if entry in allowed]
        return _part_of(found.pool, kept), [found.slices[place] for place in kept]

    def _scan(self, candidate: CandidateScan) -> Scan:
        """The candidate as ``suggest`` sees a scan of which nothing is annotated."""
        image = ImageCase(candidate.case, str(self.data))
        grid = read_grid(image, self.plans["transpose_forward"])
        files = tuple(self.images[candidate.case])
        return Scan(
            case=candidate.case,
            patient=candidate.patient,
            files=files,
            frame=None,
            label=None,
            image=image,
            grid=grid,
            axis=candidate.axis,
            annotated=(),
        )


def _part_of(pool: SlicePool, places: Sequence[int]) -> SlicePool:
    """Some slices of a pool."""
    return replace(
        pool,
        patients=tuple(pool.patients[place] for place in places),
        cases=tuple(pool.cases[place] for place in places),
        positions=pool.positions[list(places)],
        annotated=pool.annotated[list(places)],
        features=None if pool.features is None else pool.features[list(places)],
    )
