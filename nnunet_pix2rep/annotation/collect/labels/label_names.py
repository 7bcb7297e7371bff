"""Which case a label file belongs to, also where a viewer has given it another name."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

from nnunet_pix2rep.annotation.work_folder import is_left_by_a_system
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.unlabeled.adding.discover import MEDICAL_ENDINGS, NATURAL_ENDINGS, ending_of

# What viewers and file managers put behind a name: CASE.seg.nrrd, CASE-label.nii.gz, CASE_1.nii.gz, CASE (1).nii.gz
ADDITION = re.compile(
    r"([ ._-]+(seg|segm|segmentation|label|labels|labelmap|mask|edited|copy|final|\d{1,4}|\(\d+\)))+", re.IGNORECASE
)
# Formats with a header whose voxels lie in a file of the same name beside it
VOXEL_ENDINGS = {".mhd": (".raw", ".zraw"), ".nhdr": (".raw", ".raw.gz")}


@dataclass
class LabelFilesFound:
    """What a folder of labels holds.

    Attributes:
        files: Case -> its label file.
        problems: Lines that each name a file and what is wrong with it.
    """

    files: dict[str, Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def find_label_files(
    folder: Path, cases: Collection[str], file_ending: str, others: Collection[str] = ()
) -> LabelFilesFound:
    """Finds the label file of each case; hidden files and those of a system are left out.

    Args:
        folder: The folder of labels.
        cases: The cases whose labels may be there.
        file_ending: Of the dataset. Files of another format that ITK reads are taken too.
        others: Cases of the dataset whose labels should not be there.

    Raises:
        UserError: the folder does not exist or is empty.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. Name the folder of finished labels with -i.")
    found, by_case = LabelFilesFound(), defaultdict(list)
    paths = [path for path in sorted(folder.iterdir()) if path.name[0] != "." and not is_left_by_a_system(path)]
    if not paths:
        raise UserError(f"{folder} is empty. Name the folder of finished labels with -i.")
    endings = tuple(dict.fromkeys([file_ending, *MEDICAL_ENDINGS, *NATURAL_ENDINGS]))
    for path in paths:
        if path.is_file() and is_companion(path, cases, file_ending):
            continue
        ending = ending_of(path, endings) if path.is_file() else None
        if ending is None:
            found.problems.append(f"{path.name} is no label file: move it away.")
            continue
        candidates = cases_of(path.name[: -len(ending)], cases, others)
        if len(candidates) == 1:
            by_case[candidates[0]].append(path)
        elif candidates:
            found.problems.append(f"{path.name} may belong to {' or '.join(candidates)}: rename it CASE{file_ending}.")
        else:
            found.problems.append(
                f"{path.name} belongs to no case that is to be annotated: rename it CASE{file_ending}, or move it away."
            )
    for case, files in sorted(by_case.items()):
        if len(files) > 1:
            names = " and ".join(file.name for file in files)
            found.problems.append(f"{names} are both labels of {case}: keep the finished one and move the other away.")
        found.files[case] = files[0]
    return found


def cases_of(stem: str, cases: Collection[str], others: Collection[str] = ()) -> list[str]:
    """The cases, sorted, that a file name without its ending may mean; the one of just this name goes first.

    Args:
        stem: The name.
        cases: The cases to choose from.
        others: Further cases. A name that fits one of them more closely means none of ``cases``: where ``anna_2`` is
            another scan, ``anna_2`` and ``anna_2-label`` are not labels of ``anna``.
    """
    if stem in cases:
        return [stem]
    stem, names = composed(stem), {case: composed(case) for case in cases}
    if same := sorted(case for case, name in names.items() if name == stem):
        return same
    foreign = {composed(other) for other in others}.difference(names.values())
    closest = max((len(other) for other in foreign if _may_mean(stem, other)), default=0)
    return sorted(case for case, name in names.items() if len(name) > closest and _may_mean(stem, name))


def composed(name: str) -> str:
    """A name with composed characters: an archive made by macOS has an umlaut as a letter and a mark behind it."""
    return unicodedata.normalize("NFC", name)


def _may_mean(stem: str, case: str) -> bool:
    return stem == case or (stem.startswith(case) and ADDITION.fullmatch(stem[len(case) :]) is not None)


def is_companion(path: Path, cases: Collection[str], file_ending: str) -> bool:
    """Whether a file is of no use without another: the spacing that nnU-Net's 3D TIFF has, or a header's voxels."""
    if file_ending in (".tif", ".tiff") and path.suffix == ".json":
        return composed(path.stem) in map(composed, cases)
    return any(
        path.name.endswith(ending) and path.with_name(f"{path.name.removesuffix(ending)}{header}").is_file()
        for header, endings in VOXEL_ENDINGS.items()
        for ending in endings
    )
