"""Raw images, and their labels, preprocessed as the checkpoint's plans say, with the checks that nnU-Net leaves out.

Read against nnunetv2 2.8.1, preprocessing/preprocessors/default_preprocessor.py: ``run_case`` takes images without a
segmentation, as in prediction. Labels go the way of :mod:`nnunet_pix2rep.nnunet.data.sparse_labels`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from nnunetv2.imageio.base_reader_writer import BaseReaderWriter
from nnunetv2.imageio.nibabel_reader_writer import NibabelIO, NibabelIOWithReorient
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.raw_images import NIFTI_ENDINGS, check_complete, list_raw_cases, size_of
from nnunet_pix2rep.nnunet.data.sparse_labels import find_axis, preprocess_annotated_case
from nnunet_pix2rep.nnunet.features.model import FeatureModel

GEOMETRY_TOLERANCE = 1e-3  # mm, and of direction cosines
READERS_OF_3D = (NibabelIO, NibabelIOWithReorient)


@dataclass(frozen=True)
class PreparedImage:
    """One preprocessed image.

    Attributes:
        data: Shape (C, Z, Y, X), float32.
        labels: Shape (Z, Y, X), int, -1 where the label is to be ignored; None without labels.
        properties: What nnU-Net's export wants to know.
    """

    data: np.ndarray
    labels: np.ndarray | None
    properties: dict[str, Any]

    def require_labels(self) -> np.ndarray:
        """The labels of an image that was read with some.

        Raises:
            ValueError: it was read without.
        """
        if self.labels is None:
            raise ValueError("this image has no labels")
        return self.labels


def find_cases(folder: Path, file_ending: str, what: str) -> dict[str, list[Path]]:
    """Case -> its files; see :func:`list_raw_cases`.

    Raises:
        UserError: there is no such folder, no image in it, or a channel is missing before another one.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. It should hold the {what}.")
    cases = list_raw_cases(folder, file_ending)
    if not cases:
        raise UserError(
            f"{folder} holds no {what} named as nnU-Net wants it: <case>_0000{file_ending}, one file per channel. (The "
            f"ending {file_ending} is the one of the dataset that the checkpoint was trained on.)"
        )
    for case, files in cases.items():
        # nnU-Net takes the files in their order, so that a later channel would pass for the missing one
        for channel, file in enumerate(files):
            wanted = f"{case}_{channel:04d}{file_ending}"
            if file.name != wanted:
                raise UserError(f"{folder} has {file.name}, but no {wanted}: channels are numbered from 0000.")
    return cases


def find_labels(folder: Path, file_ending: str, images: dict[str, list[Path]], images_folder: Path) -> dict[str, Path]:
    """Case -> its label file, for all labels in a folder; images may be without label.

    Raises:
        UserError: there is no label, or one without image.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is not a folder. It should hold the labels of the support images.")
    labels = {
        path.name.removesuffix(file_ending): path
        for path in sorted(folder.iterdir())
        if path.is_file() and path.name.endswith(file_ending) and not path.name.startswith(".")
    }
    if not labels:
        raise UserError(f"{folder} holds no label: they are named <case>{file_ending}, without a channel number.")
    lacking = [name for name in labels if name not in images]
    if lacking:
        raise UserError(
            f"{folder} has labels without an image in {images_folder}: {', '.join(lacking)}. The image of "
            f"{lacking[0]}{file_ending} is {lacking[0]}_0000{file_ending}."
        )
    return labels


def prepare_image(
    model: FeatureModel, case: str, files: Sequence[Path], label_file: Path | None = None
) -> PreparedImage:
    """Preprocesses an image with the plans of a checkpoint.

    Args:
        model: The checkpoint.
        case: Name of the image, for error messages.
        files: Its files, one per channel.
        label_file: Its labels, if wanted.

    Raises:
        UserError: a file is damaged, the channels do not match the dataset, or the labels do not match the image or
            ``dataset.json``.
    """
    try:
        reader = model.plans_manager.image_reader_writer_class()
        _check_files([*files, *([label_file] if label_file else [])], reader)
        image, geometry = reader.read_images([str(file) for file in files])
        if len(image) != model.num_input_channels:
            raise UserError(
                f"it has {len(image)} channel(s) ({', '.join(file.name for file in files)}), but the checkpoint wants "
                f"{model.num_input_channels}: {', '.join(_channel_names(model))}"
            )
        if not np.isfinite(image).all():
            raise UserError("it has NaN or infinite voxels")
        plans = (model.plans_manager, model.configuration, model.dataset_json)
        if label_file is None:
            preprocessor = model.configuration.preprocessor_class(verbose=False)
            data, labels, properties = preprocessor.run_case([str(file) for file in files], None, *plans)
        else:
            raw_labels = _read_labels(model, reader, label_file=label_file, image=image, geometry=geometry)
            axis = find_axis(raw_labels, model.label_manager.ignore_label, geometry["spacing"])
            data, labels, properties = preprocess_annotated_case(files, label_file, *plans, axis=axis)
    except UserError as error:
        raise UserError(f"{case}: {error}.") from error
    except RuntimeError as error:  # of nnU-Net's readers and of SimpleITK
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[-1] if lines else "channels of different size or spacing"
        raise UserError(f"{case} ({files[0].name}) cannot be read: {reason}.") from error
    return PreparedImage(
        data, None if label_file is None else usable_labels(labels[0], model.label_manager), properties
    )


def _check_files(files: Sequence[Path], reader: BaseReaderWriter) -> None:
    for file in files:
        try:
            check_complete(file)
        except UserError as error:
            raise UserError(f"{file}: {error}") from error
        if isinstance(reader, READERS_OF_3D):
            _check_axes(file)


def _check_axes(file: Path) -> None:
    """Refuses what nnU-Net's readers by nibabel do not take, of which they say so by an assertion."""
    if not file.name.endswith(NIFTI_ENDINGS):
        raise UserError(f"{file} is no NIfTI file, which the dataset's reader wants")
    size = size_of(file)
    if len(size) != 3:
        raise UserError(f"{file} is {len(size)}D, but the dataset's reader takes 3D files only")


def usable_labels(labels: np.ndarray, label_manager: LabelManager) -> np.ndarray:
    """Preprocessed labels (Z, Y, X) with -1 for what to ignore.

    Background where nnU-Net's preprocessing writes -1 (empty margins), as in training.
    """
    labels = np.maximum(labels, 0)
    if label_manager.has_ignore_label:
        labels[labels == label_manager.ignore_label] = -1
    return labels


def _channel_names(model: FeatureModel) -> list[str]:
    return [str(name) for name in (model.dataset_json.get("channel_names") or model.dataset_json["modality"]).values()]


def _read_labels(
    model: FeatureModel, reader: Any, label_file: Path, image: np.ndarray, geometry: dict[str, Any]
) -> np.ndarray:
    """Labels (Z, Y, X) of the raw image, checked."""
    labels, label_geometry = reader.read_seg(str(label_file))
    if len(labels) != 1:
        raise UserError(
            f"its label {label_file} has {len(labels)} frames or channels. A label file holds one value for each voxel"
        )
    if labels.shape[1:] != image.shape[1:]:
        raise UserError(
            f"its size is {image.shape[1:]}, that of its label {label_file} is {labels.shape[1:]} (in the order z, y, "
            "x). Labels must lie on the grid of their image"
        )
    wanted, found = _numbers_of(geometry), _numbers_of(label_geometry)
    for key in wanted.keys() & found.keys():
        if not np.allclose(wanted[key], found[key], atol=GEOMETRY_TOLERANCE, rtol=0):
            raise UserError(
                f"its {key} is {_rounded(wanted[key])}, that of its label {label_file} is {_rounded(found[key])}. "
                "Labels must lie on the grid of their image"
            )
    known = [*model.label_manager.all_labels]
    known += [model.label_manager.ignore_label] if model.label_manager.has_ignore_label else []
    unknown = sorted(set(np.unique(labels).tolist()) - set(map(float, known)))
    if unknown:
        raise UserError(
            f"its label {label_file} has the value(s) {', '.join(f'{value:g}' for value in unknown)}, but dataset.json "
            f"knows only {', '.join(map(str, known))}"
        )
    return labels[0]


def _numbers_of(geometry: dict[str, Any]) -> dict[str, np.ndarray]:
    """Spacing, and origin, direction or affine where nnU-Net's reader gives them."""
    numbers = {"spacing": np.asarray(geometry["spacing"], dtype=float)}
    for content in (geometry.get("sitk_stuff", {}), geometry.get("nibabel_stuff", {})):
        for key in ("origin", "direction", "original_affine"):
            if key in content:
                numbers[key] = np.asarray(content[key], dtype=float)
    return numbers


def _rounded(numbers: np.ndarray) -> list[Any]:
    return np.round(numbers, 3).tolist()
