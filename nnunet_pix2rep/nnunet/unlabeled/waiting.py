"""Scans in ``imagesUn`` that are not preprocessed yet: a training goes without them."""

from __future__ import annotations

from pathlib import Path

from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.dataset_folders import UNLABELED_FOLDER, labeled_cases, raw_folder
from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases
from nnunet_pix2rep.nnunet.unlabeled.pool import pool_folder, read_pool


def unlabeled_scans(dataset_folder: Path) -> list[str]:
    """Raw cases in ``imagesUn``, sorted, without those named like a labeled case.

    Args:
        dataset_folder: The dataset's folder in ``nnUNet_preprocessed``.

    Returns:
        Their names; none where the raw dataset is not on this machine.
    """
    raw = raw_folder(dataset_folder.name)
    if raw is None or not (raw / UNLABELED_FOLDER).is_dir():
        return []
    cases = list_raw_cases(raw / UNLABELED_FOLDER, read_json(raw / "dataset.json")["file_ending"])
    return sorted(set(cases) - set(labeled_cases(dataset_folder.name)))


def waiting_scans(dataset_folder: Path, data_identifier: str) -> list[str]:
    """Those of :func:`unlabeled_scans` that are not preprocessed for a configuration.

    Scans that ``preprocess_unlabeled`` has looked at and left out, such as label maps, do not wait for anything.

    Args:
        dataset_folder: The dataset's folder in ``nnUNet_preprocessed``.
        data_identifier: The configuration's, as in the plans.

    Raises:
        UserError: the record of the preprocessed images cannot be read.
    """
    scans = unlabeled_scans(dataset_folder)
    pool = read_pool(pool_folder(dataset_folder, data_identifier)) if scans else None
    if pool is None:
        return scans
    own = {name: image.raw_case for name, image in pool.images.items() if image.dataset is None}
    unfinished = {case for name, case in own.items() if not pool.is_done(name)}
    return [case for case in scans if case in unfinished or case not in {*own.values(), *pool.left_out}]
