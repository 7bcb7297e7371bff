"""Segments a folder of images from some annotated ones, without training."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from tqdm import tqdm

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import checksum, read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.files import package_versions
from nnunet_pix2rep.nnunet.features.extraction import FeatureExtractor
from nnunet_pix2rep.nnunet.features.model import FeatureModel
from nnunet_pix2rep.nnunet.features.prepared_images import find_cases, find_labels, prepare_image
from nnunet_pix2rep.nnunet.in_context.classifier import (
    InContextSettings,
    PixelClassifier,
    build_classifier,
    class_shares,
    export,
)

RECORD_FILE = "in_context.json"
CHECKSUMS = "checksums"
SEGMENTED = "checksums_of_segmented"
NOT_SETTINGS = (CHECKSUMS, SEGMENTED, "package_versions")


@dataclass(frozen=True)
class Written:
    """What a run did.

    Attributes:
        segmented: Cases whose segmentation was written.
        skipped: Cases whose segmentation was there before.
        notes: What the user should know.
    """

    segmented: list[str]
    skipped: list[str]
    notes: list[str]


def segment_in_context(
    model: FeatureModel,
    support_images: Path,
    support_labels: Path,
    query: Path,
    output: Path,
    settings: InContextSettings,
    support_cases: Sequence[str] | None = None,
    save_probabilities: bool = False,
    overwrite: bool = False,
) -> Written:
    """Segments all images of a folder; the files are written one by one, each whole or not at all.

    Args:
        model: The checkpoint.
        support_images: Folder of the annotated images, in nnU-Net's naming.
        support_labels: Folder of their labels; images without label are left out.
        query: Folder of the images to segment.
        output: Gets ``<case><file ending>``, ``in_context.json``, and nnU-Net's ``dataset.json`` and ``plans.json``.
        settings: How pixels vote.
        support_cases: Only these annotated images; None: all.
        save_probabilities: Whether to write nnU-Net's ``.npz`` and ``.pkl`` too.
        overwrite: Whether to segment again what is there.

    Raises:
        UserError: bad input, or an output folder with results of other settings, of other contents of the checkpoint,
            the support and the images, or files that this function has not written.
    """
    ending = model.file_ending
    images = find_cases(support_images, ending, "support images")
    labels = find_labels(support_labels, ending, images, support_images)
    labels = _choose_cases(labels, support_cases, support_labels)
    queries = find_cases(query, ending, "images to segment")
    _check_output(output, [support_images, support_labels, query])
    record = _record(model, settings, labels, images)
    if not overwrite:
        _check_foreign(output, queries, ending)
        _check_record(output / RECORD_FILE, record)
    skipped = [case for case in queries if not overwrite and _is_complete(output, case, ending, save_probabilities)]
    notes = _notes_on_queries(model, queries, labels)
    record[SEGMENTED] = _checked_images(output, queries, skipped, ending)
    todo = [case for case in queries if case not in skipped]
    if not todo:
        return Written([], skipped, notes)

    extractor = FeatureExtractor(model, settings.mirroring, settings.tile_step_size)
    support = (
        prepare_image(model, case, images[case], labels[case]) for case in tqdm(labels, desc="support", unit="image")
    )
    classifier = build_classifier(model, extractor, support, num_images=len(labels), settings=settings)
    notes += _notes_on_support(model, classifier)
    _begin(output, record, model, [f"{case}{ending}" for case in todo])
    for case in tqdm(todo, desc="segmenting", unit="image"):
        image = prepare_image(model, case, queries[case])
        shares = class_shares(extractor, classifier, image.data)
        _write_segmentation(
            model,
            shares,
            image.properties,
            output=output,
            case=case,
            refined=settings.refine,
            save_probabilities=save_probabilities,
        )
    return Written(todo, skipped, notes)


def _begin(output: Path, record: dict[str, Any], model: FeatureModel, to_write: Iterable[str]) -> None:
    """Writes what goes with the segmentations, and takes away those that are to be replaced.

    If the run is interrupted, the same command without ``--overwrite`` would else keep what other settings have made.
    """
    output.mkdir(parents=True, exist_ok=True)
    for name in to_write:
        (output / name).unlink(missing_ok=True)
    contents = {RECORD_FILE: record, "dataset.json": model.dataset_json, "plans.json": model.plans_manager.plans}
    for name, content in contents.items():
        write_json(content, output / name)


def _write_segmentation(
    model: FeatureModel,
    shares: torch.Tensor,
    properties: dict[str, Any],
    output: Path,
    case: str,
    refined: bool,
    save_probabilities: bool,
) -> None:
    """Writes the files of a case, each whole or not at all."""
    with TemporaryDirectory(dir=output, prefix=".incomplete_") as scratch:
        export(
            model,
            shares,
            properties=properties,
            truncated=Path(scratch) / case,
            refined=refined,
            save_probabilities=save_probabilities,
        )
        # the segmentation last: where it stands, the rest does too
        for file in sorted(Path(scratch).iterdir(), key=lambda path: path.name.endswith(model.file_ending)):
            file.replace(output / file.name)


def _choose_cases(labels: dict[str, Path], wanted: Sequence[str] | None, folder: Path) -> dict[str, Path]:
    if wanted is None:
        return labels
    missing = [case for case in wanted if case not in labels]
    if missing:
        raise UserError(f"{folder} has no label of the support case(s) {', '.join(missing)}.")
    return {case: labels[case] for case in dict.fromkeys(wanted)}


def _check_output(output: Path, inputs: Sequence[Path]) -> None:
    if output.exists() and not output.is_dir():
        raise UserError(f"-o {output} is a file; it should be a folder.")
    for folder in inputs:
        if output.resolve() == folder.resolve():
            raise UserError(f"-o {output} is a folder of input images or labels: choose another one.")


def _is_complete(output: Path, case: str, ending: str, with_probabilities: bool) -> bool:
    files = [f"{case}{ending}"] + ([f"{case}.npz"] if with_probabilities else [])
    return all((output / file).is_file() for file in files)


def _check_foreign(output: Path, queries: Iterable[str], ending: str) -> None:
    """Refuses to pass off what something else has written as results, or to write over it."""
    if (output / RECORD_FILE).is_file():
        return
    names = ["dataset.json", "plans.json", *(f"{case}{ending}" for case in queries)]
    present = [name for name in names if (output / name).exists()]
    if present:
        raise UserError(
            f"{output} holds {present[0]}, but no {RECORD_FILE}, so that it was not written by this command. Choose "
            "another folder with -o, or replace it with --overwrite."
        )


def _record(
    model: FeatureModel, settings: InContextSettings, labels: dict[str, Path], images: dict[str, list[Path]]
) -> dict[str, Any]:
    support = [file for case, label in labels.items() for file in (label, *images[case])]
    return {
        "checkpoint": str(model.source.resolve()),
        "features": model.features,
        **settings.to_record(),
        "support_labels": {case: str(path.resolve()) for case, path in labels.items()},
        CHECKSUMS: {str(file.resolve()): checksum(file) for file in (model.source, *support)},
        "package_versions": package_versions(),
    }


def _check_record(path: Path, record: dict[str, Any]) -> None:
    """Refuses to mix results of different settings, or of files that were changed in between, in one folder."""
    if not path.is_file():
        return
    earlier = read_json(path)
    known = earlier.get(CHECKSUMS, {})  # earlier versions recorded none
    edited = [file for file, value in record[CHECKSUMS].items() if known.get(file, value) != value]
    if edited:
        raise UserError(
            f"{edited[0]} was changed since the segmentations in {path.parent} were made. Choose another folder with "
            "-o, or --overwrite them."
        )
    changed = [key for key in record if key not in NOT_SETTINGS and earlier.get(key) != record[key]]
    if changed:
        key = changed[0]
        raise UserError(
            f"{path.parent} holds segmentations with other settings: {key} was {earlier.get(key)} and is now "
            f"{record[key]}. Choose another folder with -o, or --overwrite them."
        )


def _checked_images(
    output: Path, queries: dict[str, list[Path]], skipped: Sequence[str], ending: str
) -> dict[str, dict[str, str]]:
    """Refuses a folder of other images under the same names, whose segmentations would count as those of these.

    Returns:
        Case -> name of a file -> its checksum, of all segmentations that the folder will hold. Earlier versions
        recorded none: those of images that are skipped are then of the files as they are now.
    """
    file = output / RECORD_FILE
    known: dict[str, dict[str, str]] = read_json(file).get(SEGMENTED, {}) if file.is_file() else {}
    found = {case: {image.name: checksum(image) for image in images} for case, images in queries.items()}
    changed = [case for case in skipped if known.get(case, found[case]) != found[case]]
    if changed:
        case = changed[0]
        raise UserError(
            f"{queries[case][0].parent} has another image {case} than the one that {output / f'{case}{ending}'} was "
            f"made of ({len(changed)} such). Remove this segmentation to have it made again, choose another folder "
            "with -o, or --overwrite them all."
        )
    return {**known, **found}


def _notes_on_queries(model: FeatureModel, queries: dict[str, Any], labels: dict[str, Any]) -> list[str]:
    notes = []
    seen = sorted(set(queries) & set(model.record.get("cases", [])))
    if seen:
        notes.append(
            f"{len(seen)} of {len(queries)} images to segment were in the pretraining, without their labels, such as "
            f"{seen[0]}: results on them are transductive."
        )
    both = sorted(set(queries) & set(labels))
    if both:
        notes.append(f"{len(both)} images to segment are support too, such as {both[0]}: results on them mean nothing.")
    return notes


def _notes_on_support(model: FeatureModel, classifier: PixelClassifier) -> list[str]:
    counts = torch.bincount(classifier.classes, minlength=classifier.num_classes).tolist()
    per_label = dict(zip(model.label_manager.all_labels, counts, strict=True))
    notes = ["Support pixels: " + ", ".join(f"label {label}: {count}" for label, count in per_label.items())]
    absent = [label for label, count in per_label.items() if count == 0]
    if absent:
        notes.append(
            f"Warning: no support pixel has the label(s) {', '.join(map(str, absent))}, so they are never predicted."
        )
    return notes
