"""Preprocessing of one unlabeled case, in a worker process.

Read against nnunetv2 2.8.1, preprocessing/preprocessors/default_preprocessor.py: ``run_case`` takes images without a
segmentation, as in prediction; ``run_case_save`` shows how images are chunked.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from nnunetv2.training.dataloading.nnunet_dataset import comp_blosc2_params, nnUNetDatasetBlosc2
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import space_errors
from nnunet_pix2rep.nnunet.data.cine import Cine, values_on_grid
from nnunet_pix2rep.nnunet.data.raw_images import ITK_ENDINGS, check_complete
from nnunet_pix2rep.nnunet.unlabeled.adding.label_maps import why_no_scan
from nnunet_pix2rep.nnunet.unlabeled.pool import IMAGE_ENDINGS, PoolImage

SCRATCH_PREFIX = ".incomplete_"


@dataclass(frozen=True)
class RawCaseTask:
    """The images to make of one raw case.

    Attributes:
        raw_case: The case's identifier in its source folder.
        images: Identifier in the pool -> image; several for a 4D file.
        pool_folder: Where they go.
        plans: nnU-Net's plans.
        configuration: Name of the configuration.
        dataset_json: The dataset's ``dataset.json``.
        neighbors: Files of cases that this one may be a label map of; None: it is taken whatever it looks like.
    """

    raw_case: str
    images: dict[str, PoolImage]
    pool_folder: Path
    plans: dict[str, Any]
    configuration: str
    dataset_json: dict[str, Any]
    neighbors: tuple[Path, ...] | None = ()


@dataclass
class Outcome:
    """What became of a raw case.

    Attributes:
        failures: Identifier, or name of the raw case where none of its images can be read, -> what is wrong with it.
        no_scans: Identifier -> why it is left out as a label map or a blank image.
    """

    failures: dict[str, str] = field(default_factory=dict)
    no_scans: dict[str, str] = field(default_factory=dict)


def preprocess_raw_case(task: RawCaseTask) -> Outcome:
    """Preprocesses the images of one raw case."""
    outcome = Outcome()
    with TemporaryDirectory(dir=task.pool_folder, prefix=SCRATCH_PREFIX) as scratch:
        try:
            for name, files in _image_files(task, Path(scratch)):
                try:
                    reason = _why_no_scan(task, files)
                    if reason is not None:
                        outcome.no_scans[name] = reason
                        continue
                    data, segmentation, properties = _run_preprocessor(task, files)
                except Exception as error:  # nnU-Net's readers raise anything; one bad image must not stop the rest
                    outcome.failures[name] = _in_one_line(error)
                    continue
                _save(task, name, data=data, segmentation=segmentation, properties=properties, scratch=Path(scratch))
        except (RuntimeError, UserError) as error:  # a damaged file; SimpleITK raises RuntimeError
            outcome.failures[task.raw_case] = _in_one_line(error)
    return outcome


def _image_files(task: RawCaseTask, scratch: Path) -> Iterator[tuple[str, list[str]]]:
    """Identifier and files of each image, a file per channel.

    A frame of a 4D file gets a file of its own, one at a time, only while nnU-Net reads it: so any of nnU-Net's
    readers makes of it exactly what it would make of a 3D file of this frame.
    """
    paths = [Path(image.folder) / name for image in list(task.images.values())[:1] for name in image.files]
    for path in paths:
        check_complete(path)
    series = None
    for name, image in task.images.items():
        if image.frame is None:
            yield name, [str(path) for path in paths]
            continue
        if series is None:
            series = [Cine(path) for path in paths]
        # without .gz: compressing would take longer than the preprocessing
        files = [scratch / path.name.removesuffix(".gz") for path in paths]
        for cine, file in zip(series, files, strict=True):
            cine.write_frame(image.frame - 1, file)
        yield name, [str(file) for file in files]
        for file in files:
            file.unlink()


def _why_no_scan(task: RawCaseTask, files: list[str]) -> str | None:
    if task.neighbors is None:
        return None
    values = PlansManager(task.plans).image_reader_writer_class().read_images(files)[0]
    neighbors = [(path.name, partial(values_on_grid, path, Path(files[0]))) for path in task.neighbors]
    return why_no_scan(values, task.raw_case, neighbors)


def _run_preprocessor(task: RawCaseTask, files: list[str]) -> tuple[np.ndarray, np.ndarray, dict[str, Any]]:
    manager = PlansManager(task.plans)
    configuration = manager.get_configuration(task.configuration)
    preprocessor = configuration.preprocessor_class(verbose=False)
    num_channels = determine_num_input_channels(manager, configuration, task.dataset_json)
    if len(files) != num_channels or not files[0].endswith(ITK_ENDINGS):  # a file may hold several channels
        found = len(manager.image_reader_writer_class().read_images(files)[0])
        if found != num_channels:
            raise UserError(f"it has {found} channels, the dataset has {num_channels}")
    data, segmentation, properties = preprocessor.run_case(files, None, manager, configuration, task.dataset_json)
    if not np.isfinite(data).all():
        raise UserError("it has NaN or infinite voxels")
    return data, segmentation, properties


def _save(
    task: RawCaseTask, name: str, data: np.ndarray, segmentation: np.ndarray, properties: dict[str, Any], scratch: Path
) -> None:
    """Saves as nnU-Net's ``run_case_save`` does, and drops the segmentation that is written with the image."""
    patch_size = PlansManager(task.plans).get_configuration(task.configuration).patch_size
    data = data.astype(np.float32, copy=False)
    blocks, chunks = comp_blosc2_params(data.shape, tuple(patch_size), data.itemsize)
    with space_errors(task.pool_folder / name):
        nnUNetDatasetBlosc2.save_case(data, segmentation, properties, str(scratch / name), chunks=chunks, blocks=blocks)
    for ending in reversed(IMAGE_ENDINGS):
        (scratch / f"{name}{ending}").replace(task.pool_folder / f"{name}{ending}")
    (scratch / f"{name}_seg.b2nd").unlink()


def _in_one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    message = lines[-1] if lines else ""  # ITK's reason is in the last line
    return message if isinstance(error, UserError) else f"{type(error).__name__}: {message}"
