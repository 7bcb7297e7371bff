"""The slices that may be annotated in a benchmark: those of the patients outside the test set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.annotation.selectors import SlicePool
from nnunet_pix2rep.annotation.slices import Slice, relative_positions, slice_axis
from nnunet_pix2rep.files import read_json, write_json
from nnunet_pix2rep.nnunet.data.sparse_labels import annotated_slices
from nnunet_pix2rep.nnunet.plans.plans_file import resolve_configuration


@dataclass(frozen=True)
class CandidateScan:
    """A case that may be annotated.

    Attributes:
        case: nnU-Net's case identifier.
        patient: Its patient.
        axis: Slices are counted along this axis of the label array.
        num_slices: Length of that axis.
        slices: Which of them have labels; all, unless the dataset has an ignore label.
    """

    case: str
    patient: str
    axis: int
    num_slices: int
    slices: tuple[int, ...]


def find_candidates(
    patients: Mapping[str, str],
    labels: Path,
    dataset_json: Mapping[str, Any],
    plans: dict[str, Any],
    configuration: str,
) -> list[CandidateScan]:
    """The scans and their slices, by the label files.

    Args:
        patients: Case -> patient, of all cases outside the test set.
        labels: Folder of the label files in the original geometry.
        dataset_json: Of the user's dataset.
        plans: Content of the plans.
        configuration: Name of the configuration.

    Raises:
        UserError: a label file is missing or damaged.
    """
    files = LabelFiles(dataset_json, plans["image_reader_writer"])
    patch_size = resolve_configuration(dict(plans), configuration)["patch_size"]
    scans = []
    for case, patient in sorted(patients.items()):
        volume = files.read(labels / f"{case}{files.file_ending}")
        axis = slice_axis(patch_size, plans["transpose_forward"], volume.properties["spacing"])
        slices = annotated_slices(volume.labels, axis, files.ignore_label)
        scans.append(
            CandidateScan(case, patient, axis=axis, num_slices=volume.labels.shape[axis], slices=tuple(slices))
        )
    return scans


def keep_candidates(scans: Sequence[CandidateScan], file: Path) -> None:
    """Writes candidates down, so that later starts of the benchmark need not read all labels."""
    write_json([asdict(scan) for scan in scans], file)


def read_candidates(file: Path) -> list[CandidateScan]:
    """What :func:`keep_candidates` wrote."""
    return [CandidateScan(**(entry | {"slices": tuple(entry["slices"])})) for entry in read_json(file)]


def pool_of(scans: Sequence[CandidateScan]) -> tuple[SlicePool, list[Slice]]:
    """All slices of scans, none annotated, without features; and which slice each entry is."""
    entries = [(scan, index) for scan in scans for index in scan.slices]
    patients = tuple(scan.patient for scan, _ in entries)
    slices = [Slice(scan.case, index) for scan, index in entries]
    pool = SlicePool(
        patients=patients,
        cases=tuple(scan.case for scan, _ in entries),
        positions=torch.tensor(relative_positions(patients, slices, [scan.num_slices for scan, _ in entries])),
        annotated=torch.zeros(len(entries), dtype=torch.bool),
    )
    return pool, slices
