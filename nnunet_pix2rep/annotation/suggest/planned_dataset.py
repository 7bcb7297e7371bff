"""A dataset under one configuration of its plans."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_pix2rep.annotation.label_files import LabelFiles, require_ignore_label
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.dataset_folders import preprocessed_folder, raw_folder
from nnunet_pix2rep.nnunet.plans.plans_file import read_plans, resolve_configuration


@dataclass(frozen=True)
class PlannedDataset:
    """A dataset under one configuration of its plans.

    Attributes:
        name: nnU-Net's name.
        folder: In ``nnUNet_preprocessed``.
        raw: In ``nnUNet_raw``.
        plans: The plans.
        configuration: Name of the configuration.
        dataset_json: Of the raw dataset.
    """

    name: str
    folder: Path
    raw: Path
    plans: dict[str, Any]
    configuration: str
    dataset_json: dict[str, Any]

    @property
    def settings(self) -> dict[str, Any]:
        """The configuration, its inheritance resolved."""
        return resolve_configuration(self.plans, self.configuration)

    def label_files(self) -> LabelFiles:
        """The dataset's label files, by the reader of the plans."""
        return LabelFiles(self.dataset_json, self.plans["image_reader_writer"])


def open_dataset(dataset_name_or_id: str | int, configuration: str, plans_name: str) -> PlannedDataset:
    """Reads what belongs to a dataset.

    Raises:
        UserError: the dataset, its raw images, the plans or the configuration are missing, the configuration is a
            cascade, or the dataset has no ignore label.
    """
    folder = preprocessed_folder(dataset_name_or_id)
    raw = raw_folder(folder.name)
    if raw is None:
        raise UserError(
            f"The raw dataset {folder.name} is not in the folder that nnUNet_raw names. Its images are copied for "
            "annotation."
        )
    dataset_json = read_json(raw / "dataset.json")
    require_ignore_label(dataset_json, raw / "dataset.json")
    plans = read_plans(folder / f"{plans_name}.json")
    resolve_configuration(plans, configuration)
    return PlannedDataset(
        name=folder.name, folder=folder, raw=raw, plans=plans, configuration=configuration, dataset_json=dataset_json
    )
