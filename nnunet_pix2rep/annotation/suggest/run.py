"""Suggests what to annotate and writes the work folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_pix2rep.annotation.selectors import SlicePool
from nnunet_pix2rep.annotation.slices import Slice
from nnunet_pix2rep.annotation.suggest.choose import choose_slices
from nnunet_pix2rep.annotation.suggest.features.checkpoint import has_one_pretraining, load_pretraining
from nnunet_pix2rep.annotation.suggest.features.pool_features import build_pool, pool_without_features, weigh
from nnunet_pix2rep.annotation.suggest.features.slice_features import FeatureCache, SamplingSettings
from nnunet_pix2rep.annotation.suggest.features.structure import find_weighting, voxel_of_click
from nnunet_pix2rep.annotation.suggest.output.draft import require_annotations
from nnunet_pix2rep.annotation.suggest.output.work_files import check_output
from nnunet_pix2rep.annotation.suggest.output.write import Outcome, write_work_folder
from nnunet_pix2rep.annotation.suggest.planned_dataset import PlannedDataset, open_dataset
from nnunet_pix2rep.annotation.suggest.request import SuggestSettings
from nnunet_pix2rep.annotation.suggest.scans import Scans, describe_waiting, find_scans
from nnunet_pix2rep.annotation.work_folder import Suggestion
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.features.model import FeatureModel


@dataclass(frozen=True)
class _Described:
    """A pool, and how its features came about."""

    pool: SlicePool
    slices: tuple[Slice, ...]
    features: dict[str, Any] | None
    notes: list[str]


def suggest(
    dataset_name_or_id: str | int, configuration: str, plans_name: str, output: Path, settings: SuggestSettings
) -> tuple[Suggestion, list[str]]:
    """Suggests slices and writes the work folder.

    Args:
        dataset_name_or_id: nnU-Net's dataset, by name or number.
        configuration: Such as ``2d``.
        plans_name: The plans.
        output: The work folder. An earlier suggestion that nobody has drawn in is replaced.
        settings: What is asked for.

    Returns:
        The suggestion, and lines for the user.

    Raises:
        UserError: bad input, see :func:`open_dataset`, :func:`find_scans`, :func:`load_pretraining`; a budget larger
            than there is; an output folder with drawn labels or other files.
    """
    check_output(output)
    dataset = open_dataset(dataset_name_or_id, configuration, plans_name)
    scans = find_scans(dataset, settings.fold, settings.axis)
    _check_request(dataset, scans, settings)
    model = None
    if settings.needs_features or settings.draft or has_one_pretraining(dataset, settings.fold):
        model = load_pretraining(
            dataset, settings.checkpoint, features=settings.features, fold=settings.fold, device=settings.device
        )
    output.mkdir(parents=True, exist_ok=True)
    described = _describe_slices(dataset, scans, model=model, settings=settings, output=output)
    choice = choose_slices(scans.scans, described.pool, described.slices, settings)
    notes = [*scans.notes, *described.notes]
    outcome = Outcome(
        dataset=dataset,
        scans=scans,
        settings=settings,
        model=model,
        choice=choice,
        features=described.features,
        notes=notes,
    )
    return write_work_folder(outcome, output), notes


def _check_request(dataset: PlannedDataset, scans: Scans, settings: SuggestSettings) -> None:
    """Refuses before anything is computed what could not be fulfilled."""
    if settings.unit == "slices":
        available = sum(len(scan.free_slices) for scan in scans.scans)
    else:
        available = sum(bool(scan.free_slices) for scan in scans.scans)
    waiting = f" {describe_waiting(dataset, scans.waiting)}" if scans.waiting else ""
    if available == 0:
        more = waiting or " Add scans with nnunet_pix2rep add_unlabeled."
        raise UserError(
            f"All slices that may be chosen are annotated already ({len(scans.scans)} scans). A slice counts as "
            "annotated where any of its voxels is, so that one across another axis counts for all that it crosses."
            + more
        )
    if not 1 <= settings.budget <= available:
        raise UserError(
            f"--{settings.unit} must be from 1 to {available}, the number of {settings.unit} that are there and not "
            f"annotated, but is {settings.budget}.{waiting}"
        )
    if settings.click is not None:
        voxel_of_click(settings.click, scans.scans)
    if settings.draft:
        require_annotations(scans.scans)


def _describe_slices(
    dataset: PlannedDataset, scans: Scans, model: FeatureModel | None, settings: SuggestSettings, output: Path
) -> _Described:
    """All slices, with the features of their pixels where there is a pretraining: the overview shows them too."""
    if model is None:
        pool, slices = pool_without_features(scans.scans)
        return _Described(pool, slices, None, ["No pretraining of these plans: overview.html shows no coverage."])
    sampling = _sampling(scans, settings)
    cache = FeatureCache(output, model, dataset.label_files(), sampling)
    cache.compute(scans.scans)
    found = build_pool(scans.scans, cache, settings.seed)
    how = find_weighting(settings.weighting, settings.click, found=found, scans=scans.scans, extractor=cache.extractor)
    record: dict[str, str | int] = {
        "kind": model.features,
        "weighting": how.name,
        "pixels_per_slice": sampling.pixels_per_slice,
        "slices_per_scan": sampling.slices_per_scan,
    }
    return _Described(weigh(found, how.name, how.examples, settings.seed), found.slices, record, [how.note])


def _sampling(scans: Scans, settings: SuggestSettings) -> SamplingSettings:
    """The usual number of slices of each scan, or all of them where the budget is larger than that."""
    most = SamplingSettings.slices_per_scan
    if sum(min(len(scan.free_slices), most) for scan in scans.scans) < settings.budget:
        most = max(scan.num_slices for scan in scans.scans)
    return SamplingSettings(slices_per_scan=most, seed=settings.seed)
