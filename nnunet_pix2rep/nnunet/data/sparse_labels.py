"""Preprocessing of cases of which only some slices are annotated; everything else is nnU-Net's ignore label.

nnU-Net's own preprocessing (nnunetv2 2.8.1, preprocessing/preprocessors/default_preprocessor.py) does two things to
such cases that it does not do to others:

- It finds the voxels outside the body where the label is background. Where the label is ignore it takes them for the
  body, so with ``use_mask_for_norm`` the image is normalized in another way than in pretraining and in prediction.
- It resamples the labels across the slices. A single annotated slice is lost where the spacing of the plans is about
  twice that of the image or more: the ignored slices beside it outweigh it.

Here the image is preprocessed as in prediction, and each annotated slice is resampled within its plane alone. Labels
without a voxel to ignore are left to nnU-Net.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from acvl_utils.cropping_and_padding.bounding_boxes import bounding_box_to_slice
from nnunetv2.preprocessing.cropping.cropping import crop_to_nonzero
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager

ROUNDING = 1e-9  # of places of slices
Preprocessed = tuple[np.ndarray, np.ndarray, dict[str, Any]]


def preprocess_annotated_case(
    image_files: Sequence[Path],
    label_file: Path,
    plans_manager: PlansManager,
    configuration: ConfigurationManager,
    dataset_json: dict[str, Any],
    *,
    axis: int,
) -> Preprocessed:
    """Preprocesses a case whose annotated slices lie across one axis.

    Args:
        image_files: A file per channel.
        label_file: Its labels.
        plans_manager: The plans.
        configuration: The configuration.
        dataset_json: The dataset's ``dataset.json``.
        axis: The axis of the slices, 0 to 2 for z, y, x in the array that nnU-Net's reader makes of the raw image.

    Returns:
        As nnU-Net's ``run_case``: image (C, *S) float32; labels (1, *S), -1 outside the body; properties.
    """
    reader = plans_manager.image_reader_writer_class()
    image, properties = reader.read_images([str(file) for file in image_files])
    labels, _ = reader.read_seg(str(label_file))
    preprocessor = configuration.preprocessor_class(verbose=False)
    label_manager = plans_manager.get_label_manager(dataset_json)
    ignore = label_manager.ignore_label
    if ignore is None or not (labels == ignore).any():
        return preprocessor.run_case_npy(image, labels, properties, plans_manager, configuration, dataset_json)
    data, _, properties = preprocessor.run_case_npy(image, None, properties, plans_manager, configuration, dataset_json)
    order = plans_manager.transpose_forward
    image, labels = (array.transpose([0, *(place + 1 for place in order)]) for array in (image, labels))
    _, labels, box = crop_to_nonzero(image, labels.copy())
    assert bounding_box_to_slice(box) == bounding_box_to_slice(properties["bbox_used_for_cropping"])
    spacing = [properties["spacing"][place] for place in order]
    target_spacing = list(configuration.spacing)
    labels = resample_slices(
        labels,
        data.shape[1:],
        axis=list(order).index(axis),
        ignore=ignore,
        resample=lambda plane, shape: configuration.resampling_fn_seg(
            plane, shape, spacing, [*spacing[: len(spacing) - len(target_spacing)], *target_spacing]
        ),
    )
    wanted = label_manager.foreground_regions if label_manager.has_regions else label_manager.foreground_labels
    # as in run_case_npy: what nnU-Net's loader draws annotated voxels from, the last entry being all of them
    properties["class_locations"] = preprocessor._sample_foreground_locations(
        labels, [*wanted, [-1, *label_manager.all_labels]]
    )
    labels = preprocessor.modify_seg_fn(labels, plans_manager, dataset_json, configuration)
    return data, labels.astype(np.int16 if labels.max() > 127 else np.int8), properties


def annotated_slices(labels: np.ndarray, axis: int, ignore_label: int | None) -> list[int]:
    """The slices with any voxel that is not to be ignored.

    Args:
        labels: Shape (Z, Y, X), integers.
        axis: Which of its axes.
        ignore_label: nnU-Net's; None: the dataset has none, and all slices are annotated.

    Returns:
        Indices along the axis, ascending.

    >>> labels = np.full((3, 2, 2), 9)
    >>> labels[1, 0, 0] = 0
    >>> annotated_slices(labels, axis=0, ignore_label=9)
    [1]
    """
    if ignore_label is None:
        return list(range(labels.shape[axis]))
    others = tuple(other for other in range(labels.ndim) if other != axis)
    return np.flatnonzero((labels != ignore_label).any(axis=others)).tolist()


def find_axis(labels: np.ndarray, ignore_label: int | None, spacing: Sequence[float]) -> int:
    """The axis across which annotated slices lie: that along which the smallest share of slices is annotated.

    Where that does not tell, as in a scan that is annotated as a whole, the axis of the largest spacing; that too where
    the image has a single slice along it, as PNG images have.

    Args:
        labels: Shape (Z, Y, X), integers.
        ignore_label: nnU-Net's; None: the dataset has none.
        spacing: Of the image (z, y, x), in mm.
    """
    widest = int(np.argmax(spacing))
    if labels.shape[widest] == 1:
        return widest
    shares = [len(annotated_slices(labels, axis, ignore_label)) / labels.shape[axis] for axis in range(3)]
    return widest if shares[widest] == min(shares) else int(np.argmin(shares))


def resample_slices(
    labels: np.ndarray,
    new_shape: Sequence[int],
    axis: int,
    ignore: int,
    resample: Callable[[np.ndarray, Sequence[int]], np.ndarray],
) -> np.ndarray:
    """Resamples each annotated slice within its plane and puts it where it lies among the new slices.

    Args:
        labels: Shape (1, *S).
        new_shape: The new spatial shape.
        axis: Which spatial axis the slices lie across.
        ignore: The ignore label.
        resample: Makes labels of another shape, which has one slice across ``axis`` as theirs has.

    Returns:
        Shape (1, *new_shape); ignore outside the annotated slices.
    """
    count, new_count = labels.shape[1 + axis], new_shape[axis]
    others = tuple(dimension for dimension in range(labels.ndim) if dimension != 1 + axis)
    annotated = np.flatnonzero((labels != ignore).any(axis=others)).tolist()
    plane_shape = [1 if dimension == axis else length for dimension, length in enumerate(new_shape)]
    resampled = np.full((1, *new_shape), ignore, dtype=labels.dtype)
    for new_index, index in places_of_slices(annotated, count, new_count).items():
        plane = resample(np.take(labels, [index], axis=1 + axis), plane_shape)
        resampled[(slice(None),) * (1 + axis) + (slice(new_index, new_index + 1),)] = plane
    return resampled


def places_of_slices(annotated: Sequence[int], count: int, new_count: int) -> dict[int, int]:
    """Which annotated slice each of the new slices shows, where ``count`` slices become ``new_count``.

    A new slice shows the annotated one nearest to its middle, if that lies within it. So no annotated slice is lost,
    unless another one lies in the same new slice.

    Returns:
        New index -> index of an annotated slice.
    """
    width = count / new_count
    places = {}
    for new_index in range(new_count):
        middle = (new_index + 0.5) * width - 0.5
        nearest = min(annotated, key=lambda index: abs(index - middle), default=None)
        if nearest is not None and abs(nearest - middle) <= max(width, 1) / 2 + ROUNDING:
            places[new_index] = nearest
    return places
