"""Segments a 4D series (x, y, z, t) from one annotated frame: each frame by the one before it and the annotated one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import SimpleITK
import torch
from tqdm import tqdm

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path
from nnunet_pix2rep.nnunet.data.dataset_reader import last_line
from nnunet_pix2rep.nnunet.data.raw_images import ITK_ENDINGS, check_complete
from nnunet_pix2rep.nnunet.data.volume_writer import require_whole, write_image
from nnunet_pix2rep.nnunet.features.extraction import FeatureExtractor
from nnunet_pix2rep.nnunet.features.model import FeatureModel
from nnunet_pix2rep.nnunet.features.prepared_images import PreparedImage, prepare_image
from nnunet_pix2rep.nnunet.in_context.classifier import (
    InContextSettings,
    PixelClassifier,
    Support,
    class_shares,
    export,
    logits_of_shares,
    refine,
    support_of_image,
)

FRAME_FILE = "frame"


def propagation_order(num_frames: int, anchor: int) -> Iterator[tuple[int, int]]:
    """The order in which the frames of a series are segmented, from an annotated one to the last, then to the first.

    Yields:
        Index of a frame, and of the neighboring frame that has its labels by then.

    Raises:
        ValueError: there is no such anchor.

    >>> list(propagation_order(num_frames=4, anchor=1))
    [(2, 1), (3, 2), (0, 1)]
    """
    if not 0 <= anchor < num_frames:
        raise ValueError(f"there is no frame {anchor} among {num_frames}")
    for frame in range(anchor + 1, num_frames):
        yield frame, frame - 1
    for frame in range(anchor - 1, -1, -1):
        yield frame, frame + 1


class SeriesPropagator:
    """Carries the labels of one frame through a series.

    Args:
        model: The checkpoint.
        files: The series, one 4D file per channel of the dataset.
        settings: How pixels vote; half of ``max_support`` is for the annotated frame, half for the one before.
        scratch: Folder for the frame that is worked on.

    Raises:
        UserError: the files are damaged, not 4D, or differ in size.
    """

    def __init__(self, model: FeatureModel, files: Sequence[Path], settings: InContextSettings, scratch: Path):
        self.model = model
        self.settings = settings
        self.scratch = scratch
        self.series = [_read_series(file) for file in files]
        if len({series.GetSize() for series in self.series}) > 1:
            sizes = ", ".join(str(series.GetSize()) for series in self.series)
            raise UserError(f"The channels of the series differ in size: {sizes} (x, y, z, t).")
        self.extractor = FeatureExtractor(model, settings.mirroring, settings.tile_step_size)
        self.all_labels = model.label_manager.all_labels

    @property
    def num_frames(self) -> int:
        """Length of the series."""
        return self.series[0].GetSize()[3]

    def run(self, label_file: Path, anchor: int) -> np.ndarray:
        """Segments all frames.

        Args:
            label_file: Labels of the annotated frame, 3D.
            anchor: Its index, from 0.

        Returns:
            Labels of all frames, shape (T, Z, Y, X); the annotated one is what the file holds.

        Raises:
            UserError: the label does not match the frame or the dataset, or nothing is drawn in it.
        """
        image = self._prepare(anchor, label_file)
        if not (image.require_labels() > 0).any():
            raise UserError(f"Nothing is drawn in {label_file}: it has only background, or voxels to ignore.")
        half = self.settings.max_support // 2
        anchor_support = self._support(image, half, anchor)
        known: dict[int, Support] = {}
        result: dict[int, np.ndarray] = {anchor: self._on_grid_of_series(label_file, image.properties)}
        order = list(propagation_order(self.num_frames, anchor))
        for frame, previous in tqdm(order, desc="frames", unit="frame"):
            # the frame beside the annotated one has no other support
            supports = [anchor_support] if previous == anchor else [anchor_support, known.pop(previous)]
            image = self._prepare(frame)
            classifier = PixelClassifier(supports, len(self.all_labels), self.settings, self.model.device)
            shares = class_shares(self.extractor, classifier, image.data)
            known[frame] = self._support(PreparedImage(image.data, self._labels(shares), image.properties), half, frame)
            file = export(
                self.model,
                shares,
                properties=image.properties,
                truncated=self.scratch / "labels",
                refined=self.settings.refine,
            )
            result[frame] = _read_labels(file)
        return np.stack([result[frame] for frame in range(self.num_frames)])

    def _labels(self, shares: torch.Tensor) -> np.ndarray:
        """The labels that the export makes of the shares, on the preprocessed grid (Z, Y, X).

        With regions, that is not always the label of the largest share: the labels of one region count together.
        """
        manager = self.model.label_manager
        labels = manager.convert_logits_to_segmentation(logits_of_shares(shares, manager)).numpy()
        return refine(labels, manager) if self.settings.refine else labels

    def _on_grid_of_series(self, label_file: Path, properties: dict[str, Any]) -> np.ndarray:
        """The annotated labels (Z, Y, X) on the grid of the series.

        Readers that reorient take a label whose axes run another way than those of the series. What they read is
        written as they write segmentations, so that it lies as the other frames do.
        """
        reader = self.model.plans_manager.image_reader_writer_class()
        labels, _ = reader.read_seg(str(label_file))
        file = self.scratch / f"annotated{self.model.file_ending}"
        reader.write_seg(labels[0], str(file), properties)
        require_whole(file)
        return _read_labels(file)

    def _support(self, image: PreparedImage, max_pixels: int, frame: int) -> Support:
        return support_of_image(
            self.extractor, image, all_labels=self.all_labels, max_pixels=max_pixels, seed=(self.settings.seed, frame)
        )

    def _prepare(self, frame: int, label_file: Path | None = None) -> PreparedImage:
        """Preprocesses a frame from files of its own, so that any of nnU-Net's readers takes it as a 3D image."""
        ending = self.model.file_ending.removesuffix(".gz")  # compressing would take longer than the preprocessing
        files = [self.scratch / f"{FRAME_FILE}_{channel:04d}{ending}" for channel in range(len(self.series))]
        for series, file in zip(self.series, files, strict=True):
            write_image(series[:, :, :, frame], file)
        return prepare_image(self.model, f"{FRAME_FILE} {frame + 1}", files, label_file)


def propagate(
    model: FeatureModel, files: Sequence[Path], label_file: Path, frame: int, output: Path, settings: InContextSettings
) -> int:
    """Segments a series and writes a 4D label file with its geometry, whole or not at all.

    Args:
        model: The checkpoint.
        files: The series, one 4D file per channel.
        label_file: Labels of the annotated frame, 3D.
        frame: Number of that frame, from 1.
        output: The file to write.
        settings: How pixels vote.

    Returns:
        The number of frames.

    Raises:
        UserError: bad input.
    """
    if not output.name.endswith(ITK_ENDINGS):
        raise UserError(f"-o {output} must end with one of {', '.join(ITK_ENDINGS)}.")
    if output.resolve() in {file.resolve() for file in (*files, label_file, model.source)}:
        raise UserError(f"-o {output} is the series, its label or the checkpoint: choose another file.")
    if not label_file.is_file():
        raise UserError(f"There is no label file {label_file}.")
    if model.file_ending not in ITK_ENDINGS:
        raise UserError(f"The checkpoint is of {model.file_ending} images, which have no 4D series.")
    with TemporaryDirectory() as scratch:
        propagator = SeriesPropagator(model, files, settings, Path(scratch))
        if not 1 <= frame <= propagator.num_frames:
            raise UserError(f"--frame {frame} is not in the series, which has the frames 1 to {propagator.num_frames}.")
        labels = propagator.run(label_file, frame - 1)
    kind = np.uint8 if labels.max() < 256 else np.uint16
    volume = SimpleITK.GetImageFromArray(labels.astype(kind), isVector=False)
    volume.CopyInformation(propagator.series[0])
    with atomic_path(output) as temporary:
        write_image(volume, temporary, output, compress=True)
    return propagator.num_frames


def _read_series(file: Path) -> SimpleITK.Image:
    if not file.is_file():
        raise UserError(f"There is no series {file}.")
    try:
        check_complete(file)
        series = SimpleITK.ReadImage(str(file))
    except (RuntimeError, UserError) as error:
        raise UserError(
            f"{file} cannot be read: {last_line(error)}. If nnU-Net reads your 3D images, save the frames as files of "
            "their own and segment them with segment_in_context."
        ) from error
    if series.GetDimension() != 4 or series.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(
            f"{file} is {series.GetDimension()}D with {series.GetNumberOfComponentsPerPixel()} value(s) per voxel; "
            "propagate wants a 4D series (x, y, z, t), one file per channel. Segment 3D images with segment_in_context."
        )
    return series


def _read_labels(file: Path) -> np.ndarray:
    """Labels (Z, Y, X) as they are stored, whatever the axes of nnU-Net's reader."""
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))
