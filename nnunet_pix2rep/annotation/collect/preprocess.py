"""Preprocessing of newly annotated cases, under every plans file and configuration that the dataset has data of."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from batchgenerators.utilities.file_and_folder_operations import load_pickle
from nnunetv2.training.dataloading.nnunet_dataset import (
    comp_blosc2_params,
    infer_dataset_class,
    nnUNetBaseDataset,
    nnUNetDatasetBlosc2,
)
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

from nnunet_pix2rep.annotation.label_files import LabelFiles
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.data.sparse_labels import preprocess_annotated_case
from nnunet_pix2rep.nnunet.unlabeled.pool import pool_folder, preprocessing_of

SCRATCH_PREFIX = ".collecting_"
MARK = "pix2rep_labels"  # in a case's properties: the digest of the labels that it was preprocessed with, and ...
MARK_OF_PLANS = "pix2rep_preprocessing"  # ... what of the plans the preprocessing read, as JSON


@dataclass(frozen=True)
class Target:
    """A folder of preprocessed cases.

    Attributes:
        folder: The folder, which need not exist yet.
        plans: nnU-Net's plans.
        configuration: Name of a configuration whose data lies there.
    """

    folder: Path
    plans: dict[str, Any]
    configuration: str


def targets_of(dataset_folder: Path) -> list[Target]:
    """The folders of preprocessed cases of a dataset; those too that hold nothing but unlabeled images so far."""
    found: dict[Path, Target] = {}
    for path in sorted(dataset_folder.glob("*.json")):
        plans = read_json(path)
        if not isinstance(plans, dict) or not {"configurations", "plans_name", "image_reader_writer"} <= plans.keys():
            continue
        manager = PlansManager(plans)
        for name in plans["configurations"]:
            folder = dataset_folder / manager.get_configuration(name).data_identifier
            if folder.is_dir() or pool_folder(dataset_folder, folder.name).is_dir():
                found.setdefault(folder, Target(folder, plans, name))
    return list(found.values())


def digest_of(labels: np.ndarray) -> str:
    """SHA-256 of labels, whatever integer type they are of."""
    return hashlib.sha256(repr(labels.shape).encode() + labels.astype(np.int16).tobytes()).hexdigest()


def description_of_preprocessing(manager: PlansManager, configuration: ConfigurationManager) -> str:
    """All of the plans that the preprocessing of an image reads, as JSON."""
    return json.dumps(preprocessing_of(manager, configuration), sort_keys=True)


def preprocess_case(
    target: Target, case: str, image_files: Sequence[Path], label_file: Path, axis: int, dataset_json: dict[str, Any]
) -> bool:
    """Preprocesses a case of the raw dataset and saves it as nnU-Net does.

    Args:
        target: Where to.
        case: nnU-Net's case identifier.
        image_files: A file per channel.
        label_file: Its labels.
        axis: The axis of its slices in the array of nnU-Net's reader.
        dataset_json: The dataset's ``dataset.json``.

    Returns:
        Whether anything was done; not if the case was preprocessed here with just these labels and plans.
    """
    manager = PlansManager(deepcopy(target.plans))  # it changes what it is given
    configuration = manager.get_configuration(target.configuration)
    marks = {
        MARK: digest_of(LabelFiles(dataset_json, target.plans["image_reader_writer"]).read(label_file).labels),
        MARK_OF_PLANS: description_of_preprocessing(manager, configuration),
    }
    kind = _dataset_class(target.folder)
    endings = ("_seg.b2nd", ".pkl", ".b2nd") if kind is nnUNetDatasetBlosc2 else (".pkl", ".npz")
    paths = [target.folder / f"{case}{ending}" for ending in endings]
    if all(path.is_file() for path in paths) and _marks_of(target.folder / f"{case}.pkl") == marks:
        return False
    data, labels, properties = preprocess_annotated_case(
        image_files,
        label_file,
        plans_manager=manager,
        configuration=configuration,
        dataset_json=dataset_json,
        axis=axis,
    )
    target.folder.mkdir(exist_ok=True)
    # beside the folder: nnU-Net lists whatever lies in it
    with TemporaryDirectory(dir=target.folder.parent, prefix=SCRATCH_PREFIX) as scratch:
        _save(
            kind,
            data,
            labels=labels,
            properties=properties | marks,
            stem=Path(scratch) / case,
            patch_size=configuration.patch_size,
        )
        for unpacked in (f"{case}.npy", f"{case}_seg.npy"):  # what older versions of nnU-Net leave beside an .npz
            (target.folder / unpacked).unlink(missing_ok=True)
        if paths[-1].is_file():
            # another round of a case: its mark, in the .pkl, comes last, so that an interrupted run is done again
            paths.sort(key=lambda path: path.suffix == ".pkl")
        for path in paths:  # a new case: its image comes last, which makes it a case for nnU-Net
            (Path(scratch) / path.name).replace(path)
    return True


def remove_leftovers(dataset_folder: Path) -> None:
    """Removes the scratch folders of killed runs."""
    for leftover in dataset_folder.glob(f"{SCRATCH_PREFIX}*"):
        shutil.rmtree(leftover)


def _save(
    kind: type[nnUNetBaseDataset],
    data: np.ndarray,
    labels: np.ndarray,
    properties: dict[str, Any],
    stem: Path,
    patch_size: Sequence[int],
) -> None:
    """As ``DefaultPreprocessor.run_case_save`` (nnunetv2 2.8.1)."""
    if kind is not nnUNetDatasetBlosc2:
        kind.save_case(data, labels, properties, str(stem))
        return
    data, labels = data.astype(np.float32, copy=False), labels.astype(np.int16, copy=False)
    blocks, chunks = comp_blosc2_params(data.shape, tuple(patch_size), data.itemsize)
    blocks_of_labels, chunks_of_labels = comp_blosc2_params(labels.shape, tuple(patch_size), labels.itemsize)
    nnUNetDatasetBlosc2.save_case(
        data,
        labels,
        properties,
        str(stem),
        chunks=chunks,
        blocks=blocks,
        chunks_seg=chunks_of_labels,
        blocks_seg=blocks_of_labels,
    )


def _dataset_class(folder: Path) -> type[nnUNetBaseDataset]:
    """nnU-Net's class of what is there already; that of its preprocessing where nothing is there."""
    return infer_dataset_class(str(folder)) if folder.is_dir() and any(folder.iterdir()) else nnUNetDatasetBlosc2


def _marks_of(file: Path) -> dict[str, str | None] | None:
    try:
        properties = load_pickle(str(file))
    except (pickle.UnpicklingError, EOFError):
        return None
    return {name: properties.get(name) for name in (MARK, MARK_OF_PLANS)}
