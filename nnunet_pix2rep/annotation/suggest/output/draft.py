"""Drafts: chosen slices that are segmented from what is annotated already, to be corrected instead of drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.annotation.slices import SliceDigests, slice_digests
from nnunet_pix2rep.annotation.suggest.planned_dataset import PlannedDataset
from nnunet_pix2rep.annotation.suggest.scans import Scan
from nnunet_pix2rep.annotation.work_folder import IMAGES, LABELS, Suggestion
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.features.model import FeatureModel
from nnunet_pix2rep.nnunet.in_context.classifier import InContextSettings
from nnunet_pix2rep.nnunet.in_context.segment_folder import segment_in_context

DRAFTS = "drafts"


def require_annotations(scans: Sequence[Scan]) -> list[str]:
    """The cases with annotated slices.

    Raises:
        UserError: there is none.
    """
    cases = [scan.case for scan in scans if scan.annotated]
    if not cases:
        raise UserError("--draft needs annotated slices to learn from, and there are none yet. Leave it out.")
    return cases


def fill_in_drafts(
    dataset: PlannedDataset,
    model: FeatureModel,
    support_cases: Sequence[str],
    suggestion: Suggestion,
    label_files: LabelFiles,
    folder: Path,
) -> dict[str, SliceDigests]:
    """Fills the chosen slices of the label files in a folder with the in-context segmentation of their images.

    Args:
        dataset: The dataset.
        model: The pretraining.
        support_cases: Annotated cases.
        suggestion: The chosen slices, and the seed.
        label_files: The dataset's.
        folder: Holds ``images/`` and ``labels/``; gets the segmentations of whole images in ``drafts/``.

    Returns:
        Case -> digests of these slices, which tell later whether anybody has corrected them.
    """
    segment_in_context(
        model,
        dataset.raw / "imagesTr",
        support_labels=dataset.raw / "labelsTr",
        query=folder / IMAGES,
        output=folder / DRAFTS,
        settings=InContextSettings(seed=suggestion.seed),
        support_cases=support_cases,
    )
    digests = {}
    for case, indices in suggestion.chosen().items():
        file = folder / LABELS / f"{case}{label_files.file_ending}"
        volume = label_files.read(file)
        draft = label_files.read(folder / DRAFTS / file.name).labels
        axis = suggestion.axes[case]
        place: list[slice | list[int]] = [slice(None)] * 3
        place[axis] = indices
        volume.labels[tuple(place)] = draft[tuple(place)]
        label_files.write(volume.labels, file, volume.properties)
        digests[case] = slice_digests(volume.labels, axis, indices)
    return digests
