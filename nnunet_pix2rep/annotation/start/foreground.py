"""A segmentation for each scan that tells nnU-Net's fingerprint extractor which voxels count as foreground.

It is the annotated foreground where there is any, else the body. nnU-Net's own extractor would count voxels of the
label ignore as foreground too (nnunetv2 2.8.1, fingerprint_extractor.py: ``segmentation[0] > 0``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunet_pix2rep.annotation.start.body import body_mask
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.cine import Cine
from nnunet_pix2rep.nnunet.data.raw_images import check_complete, number_of_frames
from nnunet_pix2rep.nnunet.data.volume_writer import require_whole
from nnunet_pix2rep.nnunet.worker_processes import run_in_processes

LOOKS_LIKE_CT = -500  # no MR image and no photograph has such values


@dataclass(frozen=True)
class Scan:
    """A scan, with or without label, as a task of a worker process.

    Attributes:
        name: nnU-Net's case identifier.
        images: A file per channel.
        label: The label file; None: there is none.
        reader: nnU-Net's reader of the dataset.
        is_ct: For each channel whether it holds Hounsfield units.
        ignore_label: The value of the label ignore, or None.
        scratch: Folder for the segmentation and for the frame of a cine.
        file_ending: Of the dataset's files.
        body_counts: Whether the body counts as foreground where there is no label.
    """

    name: str
    images: tuple[str, ...]
    label: str | None
    reader: type[BaseReaderWriter]
    is_ct: tuple[bool, ...]
    ignore_label: int | None
    scratch: str
    file_ending: str
    body_counts: bool = True


@dataclass(frozen=True)
class PreparedScan:
    """A scan that is ready for nnU-Net's extractor.

    Attributes:
        name: nnU-Net's case identifier.
        images: A file per channel, of a cine one frame.
        label: The segmentation of what counts as foreground.
        has_foreground: Whether any voxel does.
        looks_like_ct: For each channel whether it has values that only CT has.
        problem: Why the scan cannot be used; empty where it can.
    """

    name: str
    images: tuple[str, ...] = ()
    label: str = ""
    has_foreground: bool = False
    looks_like_ct: tuple[bool, ...] = ()
    problem: str = ""


@dataclass
class Foreground:
    """All scans, prepared.

    Attributes:
        scans: Those that can be used, by name.
        is_annotated: Whether the foreground is what is annotated, and not the body.
        problems: Name of each other scan -> why it cannot be used.
    """

    scans: list[PreparedScan] = field(default_factory=list)
    is_annotated: bool = False
    problems: dict[str, str] = field(default_factory=dict)


def prepare_scans(scans: Sequence[Scan], num_processes: int) -> Foreground:
    """Writes the segmentation of each scan; scans that cannot be read are named and left out.

    Labeled scans come first: if they have any foreground, the bodies of the others do not count.
    """
    labeled = [scan for scan in scans if scan.label is not None]
    prepared = list(run_in_processes(prepare_scan, labeled, num_processes, "Reading labeled scans"))
    is_annotated = any(scan.has_foreground for scan in prepared)
    if labeled and not is_annotated:  # labels without any foreground, such as untouched ones
        prepared, labeled = [], []
    others = [replace(scan, label=None, body_counts=not is_annotated) for scan in scans if scan not in labeled]
    prepared += run_in_processes(prepare_scan, others, num_processes, "Reading scans")
    return Foreground(
        scans=sorted((scan for scan in prepared if not scan.problem), key=lambda scan: scan.name),
        is_annotated=is_annotated,
        problems={scan.name: scan.problem for scan in prepared if scan.problem},
    )


def prepare_scan(scan: Scan) -> PreparedScan:
    """Reads one scan with nnU-Net's reader and writes its segmentation, in a worker process."""
    try:
        images = _image_files(scan)
        data, properties = scan.reader().read_images(images)
        _check(data, len(scan.is_ct))
        foreground = _foreground(scan, data, properties)
        label = str(Path(scan.scratch) / f"{scan.name}{scan.file_ending}")
        scan.reader().write_seg(foreground.astype(np.uint8), label, properties)
        require_whole(Path(label))
    except Exception as error:  # nnU-Net's readers raise anything; one bad scan must not stop the rest
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else "no reason given"
        return PreparedScan(
            scan.name, problem=reason if isinstance(error, UserError) else f"{type(error).__name__}: {reason}"
        )
    return PreparedScan(
        scan.name,
        images,
        label=label,
        has_foreground=bool(foreground.any()),
        looks_like_ct=tuple(bool(channel.min() < LOOKS_LIKE_CT) for channel in data),
    )


def _image_files(scan: Scan) -> tuple[str, ...]:
    """The files of the scan; of a cine, files of its middle frame, since nnU-Net takes the fourth axis for channels."""
    for file in scan.images:
        check_complete(Path(file))
    frames = number_of_frames(Path(scan.images[0]), len(scan.images), len(scan.is_ct))
    if frames is None:
        return scan.images
    written = []
    for file in scan.images:
        frame = Path(scan.scratch) / f"frame_of_{Path(file).name.removesuffix('.gz')}"
        Cine(Path(file)).write_frame(frames // 2, frame)
        written.append(str(frame))
    return tuple(written)


def _check(data: np.ndarray, num_channels: int) -> None:
    if len(data) != num_channels:
        raise UserError(f"it has {len(data)} channels, the dataset has {num_channels}")
    if not np.isfinite(data).all():
        raise UserError("it has NaN or infinite voxels")
    if not data.any():
        raise UserError("all its voxels are zero")


def _foreground(scan: Scan, data: np.ndarray, properties: dict[str, Any]) -> np.ndarray:
    if scan.label is None:
        if not scan.body_counts:
            return np.zeros(data.shape[1:], dtype=bool)
        return body_mask(data, properties["spacing"], scan.is_ct)
    labels = scan.reader().read_seg(scan.label)[0][0]
    if labels.shape != data.shape[1:]:
        raise UserError(f"its label has the shape {labels.shape}, the image has {data.shape[1:]}")
    return (labels > 0) & (labels != scan.ignore_label)


def ignore_label_of(dataset_json: dict[str, Any]) -> int | None:
    """The value of the label ignore of a dataset, by nnU-Net's own rules."""
    return LabelManager(dataset_json["labels"], dataset_json.get("regions_class_order")).ignore_label
