"""The work folder: what ``suggest`` writes, an annotator draws in, and ``collect`` takes in."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from nnunet_pix2rep.annotation.slices import Slice, SliceDigests
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json

FORMAT_VERSION = 1
IMAGES, LABELS = "images", "labels"
WORKLIST, OVERVIEW, SUGGESTION = "worklist.csv", "overview.html", "suggestion.json"
LATER_FIELDS = (
    "copied_slices",
    "image_checksums",
    "labels",
    "drafts",
)  # not in all work folders of before
SYSTEM_FILES = {"thumbs.db", "desktop.ini"}  # of Windows; those of other systems are hidden


def is_left_by_a_system(path: Path) -> bool:
    """Whether a file manager or viewer made a file for itself: hidden files are no labels either."""
    return not path.is_dir() and (path.name.startswith(".") or path.name.lower() in SYSTEM_FILES)


@dataclass(frozen=True)
class SuggestedSlice:
    """A slice to annotate.

    Attributes:
        rank: Place in the order of importance, from 1.
        case: nnU-Net's case identifier.
        patient: The patient whom the case shows.
        index: Place along the slice axis in the array of nnU-Net's reader, from 0.
        coverage: Share of the pixels of all scans, 0 to 1, that this slice and those before it represent; None where
            no features were computed.
    """

    rank: int
    case: str
    patient: str
    index: int
    coverage: float | None


@dataclass(frozen=True)
class Suggestion:
    """What was suggested and how: the content of ``suggestion.json``.

    Attributes:
        dataset: nnU-Net's name of the dataset.
        plans: Name of the plans.
        configuration: Name of the configuration.
        checkpoint: ``file`` and ``seed`` of the pretraining, the latter None where it is not recorded; None as a whole
            where no features were needed.
        features: Which features, and how pixels were weighed; None where none were needed.
        selector: Name of the selector.
        seed: Of all random choices.
        budget: How many slices were asked for, or scans where ``unit`` says so.
        unit: ``slices`` or ``cases``.
        axes: Case -> the axis that its slices are counted along, 0 to 2 for z, y, x in the array of nnU-Net's reader;
            for every case that ``slices`` or ``annotated_before`` name.
        slices: What to annotate, in the order of importance.
        pool: Numbers of ``patients``, ``cases`` and ``slices`` that could be chosen from, and of
            ``scans_not_preprocessed``, where there are any.
        patients_left_out: Patient -> why none of their slices may be chosen.
        annotated_before: Slices that were annotated already.
        like: ``case`` and ``point`` (x, y, z) of the click that says where the structure is, or None.
        package_version: Version of this package.
        copied_slices: Case -> digests of those annotated slices that its label file holds copies of, as they were
            copied. Empty in work folders of earlier versions.
        image_checksums: Name of each image file in ``images/`` -> its checksum, which is that of the dataset's own
            file, but for frames of a cine. Empty in work folders of earlier versions.
        labels: The labels of ``dataset.json``, by whose values the label files are drawn. Empty likewise.
        drafts: Case -> digests of the chosen slices that were filled with drafts. Empty likewise, and without drafts.
    """

    dataset: str
    plans: str
    configuration: str
    checkpoint: dict[str, Any] | None
    features: dict[str, Any] | None
    selector: str
    seed: int
    budget: int
    unit: str
    axes: dict[str, int]
    slices: tuple[SuggestedSlice, ...]
    pool: dict[str, int]
    patients_left_out: dict[str, str]
    annotated_before: tuple[Slice, ...]
    like: dict[str, Any] | None
    package_version: str
    copied_slices: dict[str, SliceDigests] = field(default_factory=dict)
    image_checksums: dict[str, str] = field(default_factory=dict)
    labels: dict[str, Any] = field(default_factory=dict)
    drafts: dict[str, SliceDigests] = field(default_factory=dict)

    def chosen(self) -> dict[str, list[int]]:
        """Case -> its chosen slices, ascending."""
        return slices_by_case(Slice(entry.case, entry.index) for entry in self.slices)

    def as_json(self) -> dict[str, Any]:
        """The content of ``suggestion.json`` as JSON gives it back, apart from the version of the format."""
        content = asdict(self)
        for name in LATER_FIELDS:
            if not content[name]:  # as earlier versions wrote it, so that their records are found to be of this one
                del content[name]
        return content | {name: list(content[name]) for name in ("slices", "annotated_before")}


def slices_by_case(slices: Iterable[Slice]) -> dict[str, list[int]]:
    """Case -> indices of its slices, both sorted."""
    found = defaultdict(list)
    for item in sorted(slices):
        found[item.case].append(item.index)
    return dict(found)


def write_suggestion(suggestion: Suggestion, folder: Path) -> None:
    """Writes ``suggestion.json`` into a work folder."""
    write_json({"format_version": FORMAT_VERSION} | suggestion.as_json(), folder / SUGGESTION)


def read_suggestion(folder: Path) -> Suggestion:
    """Reads ``suggestion.json`` of a work folder.

    Raises:
        UserError: there is none, or it is of another version or malformed.
    """
    path = folder / SUGGESTION
    if not path.is_file():
        raise UserError(f"{path} does not exist: {folder} is no folder that nnunet_pix2rep suggest wrote.")
    content = read_json(path)
    names = {entry.name for entry in fields(Suggestion)}
    if not isinstance(content, Mapping) or content.get("format_version") != FORMAT_VERSION:
        raise UserError(f"{path} is no suggestion that this version of nnunet_pix2rep reads.")
    content = {**{name: {} for name in LATER_FIELDS}, **content}  # not all versions wrote them
    if content.keys() - {"format_version"} != names:
        differing = sorted((content.keys() - {"format_version"}) ^ names)
        raise UserError(f"{path} is malformed: it lacks, or should not have, {', '.join(differing)}.")
    try:
        entries = tuple(SuggestedSlice(**entry) for entry in content["slices"])
        before = tuple(Slice(**entry) for entry in content["annotated_before"])
    except TypeError as error:
        raise UserError(f"{path} is malformed: {error}.") from error
    rest = {name: content[name] for name in names - {"slices", "annotated_before"}}
    return Suggestion(slices=entries, annotated_before=before, **rest)
