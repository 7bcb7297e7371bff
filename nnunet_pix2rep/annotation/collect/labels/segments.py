"""What 3D Slicer's ``.seg.nrrd`` calls its numbers: they follow the order in which segments were added there."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nnunet_pix2rep.annotation.collect.labels.wording import join
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_images import header_of

NRRD_ENDINGS = (".nrrd", ".nhdr")
NAME_KEY = re.compile(r"(Segment\d+)_Name")
ONLY_VALUE = "1"  # of a segment in files of earlier versions, which name none


def check_segment_names(label_file: Path, known: Mapping[str, Any], labels: np.ndarray) -> None:
    """Refuses segments that have the name of a label of the dataset and another number.

    They are not renumbered: name or number may be the one that is wrong.

    Args:
        label_file: In any format; only NRRD has names.
        known: The labels of dataset.json, by name.
        labels: What the file holds; segments without any voxel do not count.

    Raises:
        UserError: a number has the name of another. The message does not name the file.
    """
    if not label_file.name.endswith(NRRD_ENDINGS):
        return
    present = set(np.unique(labels).tolist())
    meant: defaultdict[str, set[int]] = defaultdict(set)
    for name, values in known.items():
        meant[_plain(name)].update(int(value) for value in np.ravel(values))
    wrong = [
        f'"{name}" has the number {value}, and dataset.json gives {name.strip()} {join(meant[_plain(name)])}'
        for name, value in _segments_of(label_file)
        if value in present and _plain(name) in meant and value not in meant[_plain(name)]
    ]
    if wrong:
        raise UserError(
            f"its segments are numbered in another way than the labels of the dataset: {'; '.join(wrong)}. Export them "
            "with the numbers of dataset.json, or rename the segments if the numbers are right"
        )


def _segments_of(label_file: Path) -> Iterator[tuple[str, int]]:
    header = header_of(label_file)
    for key in header.GetMetaDataKeys():
        if (match := NAME_KEY.fullmatch(key)) is None:
            continue
        of_value = f"{match[1]}_LabelValue"
        value = header.GetMetaData(of_value) if header.HasMetaDataKey(of_value) else ONLY_VALUE
        if value.strip().isdecimal():
            yield header.GetMetaData(key), int(value)


def _plain(name: str) -> str:
    return name.strip().casefold()
