"""``annotations.json`` beside ``dataset.json``: which slices were annotated, and what had suggested them.

It lies in the raw dataset and, for trainings on machines without the raw data, in the preprocessed one.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json

ANNOTATIONS_FILE = "annotations.json"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class AnnotatedCase:
    """Slices of a case that were taken in one round.

    Attributes:
        axis: The axis that they are counted along, 0 to 2 for z, y, x in the array of nnU-Net's reader.
        slices: Their indices, ascending, from 0.
        content: SHA-256 of these slices' labels, which tells whether they were changed since.
        digests: Slice, as text -> SHA-256 of every drawing of it that the dataset has had, with spaces between; one,
            or none, in records of earlier versions.
    """

    axis: int
    slices: list[int]
    content: str
    digests: dict[str, str] = field(default_factory=dict)


@dataclass
class AnnotationRound:
    """What was collected from one work folder.

    Attributes:
        suggestion: The content of its ``suggestion.json``, None where there was none.
        cases: Case -> what was taken.
    """

    suggestion: dict[str, Any] | None
    cases: dict[str, AnnotatedCase] = field(default_factory=dict)


def read_annotations(folder: Path | None) -> list[AnnotationRound]:
    """The rounds in the order in which they were collected; none where there is no record.

    Args:
        folder: A raw or preprocessed dataset; None: it is not on this machine.

    Raises:
        UserError: the record is of another version or malformed.
    """
    path = folder / ANNOTATIONS_FILE if folder is not None else None
    if path is None or not path.is_file():
        return []
    content = read_json(path)
    if not isinstance(content, dict) or content.get("format_version") != FORMAT_VERSION:
        raise UserError(f"{path} is no record of annotations that this version of nnunet_pix2rep reads.")
    try:
        return [
            AnnotationRound(
                entry["suggestion"], {case: AnnotatedCase(**values) for case, values in entry["cases"].items()}
            )
            for entry in content["rounds"]
        ]
    except (KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{path} is malformed: {error!r}.") from error


def write_annotations(rounds: Iterable[AnnotationRound], folder: Path) -> None:
    """Writes the record into a raw or preprocessed dataset."""
    write_json(
        {"format_version": FORMAT_VERSION, "rounds": [asdict(entry) for entry in rounds]}, folder / ANNOTATIONS_FILE
    )


def add_round(rounds: Iterable[AnnotationRound], new: AnnotationRound) -> list[AnnotationRound]:
    """The rounds with a new one; what is collected again from the same suggestion takes the place of the earlier.

    Digests of slices that are not taken this time stay.
    """
    rounds = list(rounds)
    for index, entry in enumerate(rounds):
        if entry == new:
            return rounds
        if new.suggestion is not None and entry.suggestion == new.suggestion:
            known = {case: taken.digests for case, taken in entry.cases.items()}
            cases = {
                case: replace(taken, digests=known.get(case, {}) | taken.digests) for case, taken in new.cases.items()
            }
            return [*rounds[:index], AnnotationRound(new.suggestion, entry.cases | cases), *rounds[index + 1 :]]
    return [*rounds, new]


def annotations_of(rounds: Iterable[AnnotationRound], cases: Iterable[str]) -> list[dict[str, Any]]:
    """The record of those slices that a training used, for its checkpoint; plain Python values.

    Args:
        rounds: All rounds.
        cases: The cases of the training.
    """
    used = set(cases)
    kept = [
        AnnotationRound(entry.suggestion, {case: taken for case, taken in entry.cases.items() if case in used})
        for entry in rounds
    ]
    return [asdict(entry) for entry in kept if entry.cases]
