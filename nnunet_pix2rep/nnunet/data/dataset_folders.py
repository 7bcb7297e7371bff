"""Folders and training cases of a dataset, with errors that say what to run."""

from __future__ import annotations

from pathlib import Path

from batchgenerators.utilities.file_and_folder_operations import subfiles
from nnunetv2.paths import nnUNet_preprocessed, nnUNet_raw
from nnunetv2.utilities.dataset_name_id_conversion import convert_dataset_name_to_id, maybe_convert_to_dataset_name

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.dataset_cases import labeled_images

UNLABELED_FOLDER = "imagesUn"


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
        command = "nnunet_pix2rep plan_unlabeled" if is_without_labels(name) else "nnUNetv2_plan_and_preprocess"
        raise UserError(f"{folder} does not exist. Run {command} for {name} first.")
    return folder


def raw_folder(dataset_name: str) -> Path | None:
    """Returns the dataset's folder in ``nnUNet_raw``, or None where the raw data is not on this machine."""
    if not nnUNet_raw.is_set():
        return None
    folder = Path(nnUNet_raw) / dataset_name
    return folder if (folder / "dataset.json").is_file() else None


def is_without_labels(dataset_name: str) -> bool:
    """Whether a raw dataset has a folder of unlabeled images and no labeled case."""
    raw = raw_folder(dataset_name)
    return raw is not None and (raw / UNLABELED_FOLDER).is_dir() and not _raw_labeled_cases(raw)


def labeled_cases(dataset_name_or_id: str | int) -> list[str]:
    """Lists the labeled training cases, sorted; none in a dataset that starts from scans without labels.

    They come from the raw dataset by nnU-Net's own rule, see :func:`labeled_images`. Where the raw data is gone, as on
    many compute clusters, they are the files in ``gt_segmentations`` of the preprocessed dataset.
    """
    folder = preprocessed_folder(dataset_name_or_id)
    raw = raw_folder(folder.name)
    if raw is not None:
        return _raw_labeled_cases(raw)
    ending = read_json(folder / "dataset.json")["file_ending"]
    labels = folder / "gt_segmentations"
    files = subfiles(str(labels), suffix=ending, join=False) if labels.is_dir() else []
    return sorted(file.removesuffix(ending) for file in files)


def training_cases(dataset_name_or_id: str | int) -> list[str]:
    """Lists the labeled training cases, sorted, see :func:`labeled_cases`.

    Raises:
        UserError: no case was found.
    """
    cases = labeled_cases(dataset_name_or_id)
    if cases:
        return cases
    folder = preprocessed_folder(dataset_name_or_id)
    raw = raw_folder(folder.name)
    if raw is not None and is_without_labels(folder.name):
        number = convert_dataset_name_to_id(folder.name)
        raise UserError(
            f"{folder.name} has no labeled case yet. It can be pretrained in fold all; everything else needs labels "
            f"first: nnunet_pix2rep suggest -d {number} chooses slices, and nnunet_pix2rep collect -d {number} takes "
            f"them in once they are drawn. Or put images into {raw / 'imagesTr'} and their labels into labelsTr."
        )
    searched = folder / "gt_segmentations" if raw is None else raw / "imagesTr"
    raise UserError(f"No training cases found in {searched}. Run nnUNetv2_plan_and_preprocess for {folder.name} first.")


def _raw_labeled_cases(raw: Path) -> list[str]:
    return sorted(labeled_images(raw, read_json(raw / "dataset.json")))
