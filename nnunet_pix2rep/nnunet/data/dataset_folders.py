"""Folders and training cases of a dataset, with errors that say what to run."""

from __future__ import annotations

from pathlib import Path

from batchgenerators.utilities.file_and_folder_operations import subfiles
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.utilities.dataset_name_id_conversion import maybe_convert_to_dataset_name
from nnunetv2.utilities.utils import get_identifiers_from_splitted_dataset_folder

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json


def dataset_name_of(dataset_name_or_id: str | int) -> str:
    """Returns the full name, such as ``Dataset027_ACDC``, of a dataset given by name or number.

    Raises:
        UserError: no dataset, or several, of this number; nnU-Net's message lists the folders that it searched.
    """
    try:
        return str(maybe_convert_to_dataset_name(dataset_name_or_id))
    except (RuntimeError, ValueError) as error:
        raise UserError(str(error)) from error


def preprocessed_folder(dataset_name_or_id: str | int) -> Path:
    """Returns the dataset's folder in ``nnUNet_preprocessed``.

    Raises:
        UserError: the environment variable is not set, or the folder does not exist.
    """
    if not nnUNet_preprocessed.is_set():
        raise UserError(
            "The environment variable nnUNet_preprocessed is not set. Set it to the folder with nnU-Net's plans and "
            "preprocessed data (nnU-Net's documentation/setting_up_paths.md)."
        )
    name = dataset_name_of(dataset_name_or_id)
    folder = Path(nnUNet_preprocessed) / name
    if not folder.is_dir():
        raise UserError(f"{folder} does not exist. Run nnUNetv2_plan_and_preprocess for {name} first.")
    return folder


def raw_folder(dataset_name: str) -> Path | None:
    """Returns the dataset's folder in ``nnUNet_raw``, or None where the raw data is not on this machine."""
    if not nnUNet_raw.is_set():
        return None
    folder = Path(nnUNet_raw) / dataset_name
    return folder if (folder / "dataset.json").is_file() else None


def training_cases(dataset_name_or_id: str | int) -> list[str]:
    """Lists the labelled training cases, sorted.

    They come from the raw dataset by nnU-Net's own rule (``get_filenames_of_train_images_and_targets`` in
    nnunetv2/utilities/utils.py: the key ``dataset`` of dataset.json, else the files in ``imagesTr``). Where the raw
    data is gone, as on many compute clusters, they are the files in ``gt_segmentations`` of the preprocessed dataset.

    Raises:
        UserError: no case was found.
    """
    folder = preprocessed_folder(dataset_name_or_id)
    raw = raw_folder(folder.name)
    if raw is not None:
        dataset_json = read_json(raw / "dataset.json")
        searched = raw / "imagesTr"
        if "dataset" in dataset_json:
            cases = list(dataset_json["dataset"])
        else:
            cases = _files_with_ending(searched, dataset_json["file_ending"], with_channel=True)
    else:
        dataset_json = read_json(folder / "dataset.json")
        searched = folder / "gt_segmentations"
        cases = _files_with_ending(searched, dataset_json["file_ending"], with_channel=False)
    if not cases:
        raise UserError(
            f"No training cases found in {searched}. Run nnUNetv2_plan_and_preprocess for {folder.name} first."
        )
    return sorted(cases)


def _files_with_ending(folder: Path, ending: str, with_channel: bool) -> list[str]:
    if not folder.is_dir():
        return []
    if with_channel:
        return [str(case) for case in get_identifiers_from_splitted_dataset_folder(str(folder), ending)]
    return [file.removesuffix(ending) for file in subfiles(str(folder), suffix=ending, join=False)]
