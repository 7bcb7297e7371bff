"""The cases of a raw dataset and their image files, wherever ``dataset.json`` says that they are."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_images import list_raw_cases

LABELED_FOLDER = "imagesTr"
TEST_FOLDER = "imagesTs"


def labeled_images(raw: Path, dataset_json: Mapping[str, Any]) -> dict[str, list[Path]]:
    """Case -> image files in the order of the channels, for all labeled cases.

    The rule is nnU-Net's (nnunetv2 2.8.1, utilities/utils.py, ``get_filenames_of_train_images_and_targets``): the key
    ``dataset`` of ``dataset.json``, whose paths may hold environment variables and may be relative to the raw dataset;
    else the files in ``imagesTr``.

    Args:
        raw: The raw dataset.
        dataset_json: Content of its ``dataset.json``.

    Raises:
        UserError: the key ``dataset`` is not of nnU-Net's form.
    """
    if "dataset" not in dataset_json:
        return list_raw_cases(raw / LABELED_FOLDER, dataset_json["file_ending"])
    try:
        return {
            case: [raw / os.path.expandvars(file) for file in entry["images"]]
            for case, entry in sorted(dataset_json["dataset"].items())
        }
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(
            f'{raw / "dataset.json"}: "dataset" must be an object of case -> {{"images": [...], "label": ...}}, but '
            f"{error!r} was raised on reading it."
        ) from error


def images_by_folder(raw: Path, dataset_json: Mapping[str, Any], *more: str) -> dict[str, dict[str, list[Path]]]:
    """``imagesTr``, ``imagesTs`` and the given folders -> case -> image files; ``imagesTr`` is all labeled cases."""
    ending = dataset_json["file_ending"]
    others = {name: list_raw_cases(raw / name, ending) for name in (TEST_FOLDER, *more)}
    return {LABELED_FOLDER: labeled_images(raw, dataset_json)} | others
