"""Preprocessing of images without labels, by nnU-Net's own preprocessor and under the plans of the labeled images."""

from __future__ import annotations

import shutil
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from nnunetv2.configuration import default_num_processes
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.dataset_folders import UNLABELED_FOLDER, preprocessed_folder, raw_folder
from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases
from nnunet_pix2rep.nnunet.plans.plans_file import read_plans, resolve_configuration
from nnunet_pix2rep.nnunet.unlabeled.adding.label_maps import is_kept, likely_neighbors
from nnunet_pix2rep.nnunet.unlabeled.pool import Pool, PoolImage, pool_folder, preprocessing_of, read_pool
from nnunet_pix2rep.nnunet.unlabeled.preprocess_worker import SCRATCH_PREFIX, RawCaseTask, preprocess_raw_case
from nnunet_pix2rep.nnunet.unlabeled.selection import Selection, Source, find_source, select_images
from nnunet_pix2rep.nnunet.worker_processes import only_process, run_in_processes


@dataclass
class Report:
    """What :func:`preprocess_unlabeled` did.

    Attributes:
        folder: The pool's folder.
        selection: What was chosen and left out.
        num_made: Images preprocessed now.
        num_kept: Images that were there already.
        removed: Reason -> identifiers of images that were removed from the pool.
        failures: Identifier, or name of a raw case, -> why it could not be preprocessed.
    """

    folder: Path
    selection: Selection
    num_made: int = 0
    num_kept: int = 0
    removed: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    failures: dict[str, str] = field(default_factory=dict)


def preprocess_unlabeled(
    dataset_name_or_id: str | int,
    configuration: str,
    plans_name: str = "nnUNetPlans",
    folder: Path | None = None,
    num_processes: int | None = None,
    keep: Sequence[str] = (),
) -> Report:
    """Preprocesses unlabeled images into the pool of a configuration; those that are done are left as they are.

    Args:
        dataset_name_or_id: nnU-Net's dataset, by name or number.
        configuration: Such as ``2d``.
        plans_name: The plans.
        folder: Raw images in nnU-Net's naming; None: ``imagesUn`` of the raw dataset.
        num_processes: Worker processes, with 1 everything runs in this one; None: nnU-Net's default.
        keep: Names of raw cases, with ``*`` and ``?``, that are taken although they are blank or look like label maps.

    Raises:
        UserError: plans or images are missing, another process fills the same pool, or a worker was killed. An image
            that cannot be preprocessed is not an error: it is listed in the report.
    """
    dataset_folder = preprocessed_folder(dataset_name_or_id)
    plans = read_plans(dataset_folder / f"{plans_name}.json")
    data_identifier = resolve_configuration(plans, configuration)["data_identifier"]
    dataset_json = read_json(dataset_folder / "dataset.json")
    manager = PlansManager(plans)
    source = find_source(dataset_folder, folder)
    _check_ending(source, manager)
    num_channels = determine_num_input_channels(manager, configuration, dataset_json)
    selection = select_images(source, dataset_folder, num_channels)
    report = Report(pool_folder(dataset_folder, data_identifier), selection)
    with only_process(report.folder):
        for leftover in report.folder.glob(f"{SCRATCH_PREFIX}*"):
            shutil.rmtree(leftover)
        pool = _update_record(report, preprocessing_of(manager, manager.get_configuration(configuration)))
        accepted = {name: image for name, image in selection.images.items() if name not in report.failures}
        todo = {name: image for name, image in accepted.items() if not pool.is_done(name)}
        report.num_kept = len(accepted) - len(todo)
        task = partial(
            RawCaseTask,
            pool_folder=pool.folder,
            plans=plans,
            configuration=configuration,
            dataset_json=dataset_json,
        )
        cases = list_raw_cases(source.folder, source.file_ending)
        tasks = [
            task(raw_case=raw_case, images=images, neighbors=_neighbors(cases, keep, raw_case))
            for raw_case, images in _by_raw_case(todo).items()
        ]
        _preprocess(tasks, num_processes or default_num_processes, pool, report)
        _record_left_out(pool, source, dataset_folder)
        report.num_made = sum(pool.is_done(name) for name in todo)
    return report


def _preprocess(tasks: Sequence[RawCaseTask], num_processes: int, pool: Pool, report: Report) -> None:
    """Preprocesses raw cases; failures go to the report, and what turns out to be no scan leaves the pool."""
    for outcome in run_in_processes(preprocess_raw_case, tasks, num_processes, "Preprocessing"):
        report.failures |= outcome.failures
        _leave_out(outcome.no_scans, pool, report.selection)


def _check_ending(source: Source, manager: PlansManager) -> None:
    """Files of another dataset may be of a format that the reader of these plans does not know."""
    reader = manager.image_reader_writer_class
    if source.file_ending.lower() not in reader.supported_file_endings:
        raise UserError(
            f"{source.folder} holds {source.file_ending} files, which {reader.__name__}, the reader of the plans, does "
            "not take. Convert them with nnunet_pix2rep add_unlabeled."
        )


def _update_record(report: Report, preprocessing: dict[str, Any]) -> Pool:
    """Brings the record up to date before anything is preprocessed, and deletes what is not valid any more.

    Files are deleted before the record says that they are to be made again: a run that is killed then starts over.
    """
    earlier = read_pool(report.folder) or Pool(report.folder, preprocessing)
    pool = Pool(report.folder, preprocessing, left_out=earlier.left_out)
    for name, image in earlier.images.items():
        reason = _why_invalid(name, image, report.selection)
        if earlier.preprocessing != preprocessing:
            reason = f"made under other plans, from {image.folder}"
        if reason is None:
            pool.images[name] = image
        else:
            report.removed[reason].append(name)
    for path in report.folder.glob("*.b2nd"):
        if (name := path.name.removesuffix(".b2nd")) not in pool.images:
            pool.remove(name)
    for name, image in report.selection.images.items():
        if name in pool.images and not image.same_source(pool.images[name]):
            report.failures[name] = f"the pool has another image of this name, from {pool.images[name].folder}"
        else:
            pool.images[name] = image
    pool.write()
    return pool


def _why_invalid(name: str, image: PoolImage, selection: Selection) -> str | None:
    """Why an image of the pool is to be removed, or made again if it is selected; None: it stays."""
    same_folder = image.folder == str(selection.folder)
    if name not in selection.images:
        return "no longer among the raw images, or left out now" if same_folder else None
    moved = not Path(image.folder).is_dir()
    if (same_folder or moved) and not image.same_source(selection.images[name]):
        return "the raw image has changed"
    return None


def _neighbors(cases: Mapping[str, Sequence[Path]], keep: Sequence[str], case: str) -> tuple[Path, ...] | None:
    """Files of the cases that a case may be a label map of; None where the user keeps it whatever it looks like."""
    return None if is_kept(keep, case) else tuple(cases[other][0] for other in likely_neighbors(case, cases))


def _leave_out(no_scans: Mapping[str, str], pool: Pool, selection: Selection) -> None:
    """Takes images that turned out to be no scans from the record of the pool."""
    for name, reason in no_scans.items():
        selection.left_out[reason].append(name)
        del pool.images[name]
    if no_scans:
        pool.write()


def _record_left_out(pool: Pool, source: Source, dataset_folder: Path) -> None:
    """Notes which scans of ``imagesUn`` were looked at and not taken, so that nothing says later that they wait."""
    raw = raw_folder(dataset_folder.name)
    if raw is None or source.folder != (raw / UNLABELED_FOLDER).resolve():
        return
    taken = {image.raw_case for image in pool.images.values() if image.dataset is None}
    pool.left_out = sorted(set(list_raw_cases(source.folder, source.file_ending)) - taken)
    pool.write()


def _by_raw_case(images: Mapping[str, PoolImage]) -> dict[str, dict[str, PoolImage]]:
    by_case: dict[str, dict[str, PoolImage]] = defaultdict(dict)
    for name, image in images.items():
        by_case[image.raw_case][name] = image
    return by_case
