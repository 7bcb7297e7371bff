"""Images in ``imagesUn`` that have the name of another image in ``imagesTr``."""

from __future__ import annotations

import filecmp
from collections.abc import Collection
from pathlib import Path

from nnunet_pix2rep.nnunet.data.dataset_folders import UNLABELED_FOLDER
from nnunet_pix2rep.nnunet.data.dataset_reader import sidecar_of
from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases


def differing_namesakes(raw: Path, file_ending: str, cases: Collection[str] | None = None) -> dict[str, str]:
    """Finds cases of which both folders have a file of one name, but not the same one.

    Equal files are what an interrupted ``collect`` leaves.

    Args:
        raw: The raw dataset.
        file_ending: Of its images.
        cases: Look at these alone; None: at all.

    Returns:
        Case, sorted -> the name of the file.
    """
    found = {}
    for case, images in list_raw_cases(raw / UNLABELED_FOLDER, file_ending).items():
        if cases is not None and case not in cases:
            continue
        spacing = sidecar_of(images[0]) if file_ending.startswith(".tif") else None
        files = [*images, *([spacing] if spacing is not None and spacing.is_file() else [])]
        differing = [file.name for file in files if _differs(file, raw / "imagesTr" / file.name)]
        if differing:
            found[case] = differing[0]
    return dict(sorted(found.items()))


def _differs(file: Path, namesake: Path) -> bool:
    return namesake.is_file() and not filecmp.cmp(file, namesake, shallow=False)
