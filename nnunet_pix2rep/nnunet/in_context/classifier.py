"""Segmentation from annotated images without training, and its export through nnU-Net.

Read against nnunetv2 2.8.1: inference/export_prediction.py, postprocessing/remove_connected_components.py,
utilities/label_handling/label_handling.py.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.inference.export_prediction import export_prediction_from_logits
from nnunetv2.postprocessing.remove_connected_components import (
    load_postprocess_save,
    remove_all_but_largest_component_from_segmentation,
)
from nnunetv2.utilities.label_handling.label_handling import LabelManager

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nearest_neighbors import build_search, choose_support, class_weights, vote
from nnunet_pix2rep.nnunet.data.volume_writer import require_whole
from nnunet_pix2rep.nnunet.features.extraction import TILE_STEP_SIZE, FeatureExtractor
from nnunet_pix2rep.nnunet.features.model import FeatureModel
from nnunet_pix2rep.nnunet.features.prepared_images import PreparedImage

LEAST_PROBABILITY = 1e-4


@dataclass(frozen=True)
class InContextSettings:
    """How pixels vote.

    Attributes:
        k: Neighbors.
        temperature: A neighbor of cosine similarity s weighs exp(s / temperature).
        class_balance: Whether every class of the support weighs the same, whatever its number of pixels.
        max_support: Most support pixels, of all support images together.
        search: See :func:`nnunet_pix2rep.nearest_neighbors.build_search`.
        mirroring: Whether features are averaged over mirrored images.
        tile_step_size: Distance of two tiles in widths of a tile.
        refine: Whether only the largest component of each class is kept.
        seed: Of the choice of background pixels.
    """

    k: int = 64
    temperature: float = 0.07
    class_balance: bool = False
    max_support: int = 20000
    search: str = "auto"
    mirroring: bool = False
    tile_step_size: float = TILE_STEP_SIZE
    refine: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        limits = {"k": (1, 10**6), "temperature": (1e-4, 1e6), "max_support": (2, 10**8), "tile_step_size": (0.05, 1)}
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                option = name.replace("_", "-")
                raise UserError(f"--{option} must be from {low:g} to {high:g}, but is {getattr(self, name):g}.")
        if self.search == "faiss":
            _require_faiss()

    def to_record(self) -> dict[str, Any]:
        """Plain values of all that a result depends on."""
        return {name: value for name, value in asdict(self).items() if name != "search"}


def _require_faiss() -> None:
    try:
        import faiss  # noqa: F401
    except ImportError as error:
        raise UserError("FAISS is not installed: pip install faiss-cpu, or leave out --search faiss.") from error


@dataclass(frozen=True)
class Support:
    """Annotated pixels.

    Attributes:
        features: Shape (M, d), float32.
        classes: Shape (M,), int64: places in ``label_manager.all_labels``.
    """

    features: torch.Tensor
    classes: torch.Tensor


def support_of_image(
    extractor: FeatureExtractor, image: PreparedImage, all_labels: Sequence[int], max_pixels: int, seed: Sequence[int]
) -> Support:
    """Features and classes of the pixels of an annotated image that :func:`choose_support` chooses."""
    labels = image.require_labels()
    chosen = choose_support(labels, max_pixels, np.random.default_rng(seed))
    voxels = np.stack(np.unravel_index(chosen, labels.shape), axis=1)
    classes = np.searchsorted(np.asarray(all_labels), labels.ravel()[chosen])
    return Support(extractor.features_at(image.data, voxels), torch.from_numpy(classes).long())


class PixelClassifier:
    """Classifies pixels by their nearest neighbors in a support."""

    def __init__(
        self, supports: Sequence[Support], num_classes: int, settings: InContextSettings, device: torch.device
    ):
        features = torch.cat([support.features for support in supports]).to(device)
        self.classes = torch.cat([support.classes for support in supports]).to(device)
        self.num_classes = num_classes
        self.settings = settings
        self.device = device
        self.search = build_search(features, settings.k, settings.search)
        self.weights = class_weights(self.classes, num_classes) if settings.class_balance else None

    def __call__(self, features: torch.Tensor) -> torch.Tensor:
        """Features (N, d) to shares of the classes (N, C), on the CPU."""
        similarities, indices = self.search(features.to(self.device))
        return vote(
            similarities,
            self.classes[indices],
            num_classes=self.num_classes,
            temperature=self.settings.temperature,
            weights=self.weights,
        ).cpu()


def build_classifier(
    model: FeatureModel,
    extractor: FeatureExtractor,
    images: Iterable[PreparedImage],
    num_images: int,
    settings: InContextSettings,
) -> PixelClassifier:
    """Makes a classifier of annotated images; those that have nothing but the ignore label are left out.

    Args:
        model: The checkpoint.
        extractor: Of this checkpoint.
        images: With labels; read one by one.
        num_images: How many they are, to share ``max_support`` among.
        settings: How pixels vote.

    Raises:
        UserError: there are too many images for ``max_support``, or nothing in them is annotated.
    """
    all_labels = model.label_manager.all_labels
    share = settings.max_support // num_images
    if share < 2:
        raise UserError(f"--max-support {settings.max_support} is too few for {num_images} support images.")
    supports = [
        support_of_image(extractor, image, all_labels=all_labels, max_pixels=share, seed=(settings.seed, number))
        for number, image in enumerate(images)
        if (image.require_labels() >= 0).any()
    ]
    if not supports:
        raise UserError("The support labels have nothing but the ignore label.")
    return PixelClassifier(supports, len(all_labels), settings, model.device)


def class_shares(extractor: FeatureExtractor, classifier: PixelClassifier, data: np.ndarray) -> torch.Tensor:
    """Shares of the classes at all voxels of a preprocessed image (C, Z, Y, X); shape (classes, Z, Y, X), float32."""
    shares = torch.empty(classifier.num_classes, *data.shape[1:])
    for block, features in extractor.blocks(data):
        shares[:, block] = classifier(features).T.reshape(classifier.num_classes, -1, *data.shape[2:])
    return shares


def logits_of_shares(shares: torch.Tensor, label_manager: LabelManager) -> torch.Tensor:
    """The logits that nnU-Net's export turns into just these probabilities; regions sum the shares of their labels.

    Args:
        shares: Shape (number of labels, Z, Y, X), in the order of ``label_manager.all_labels``.
        label_manager: nnU-Net's.

    Returns:
        Shape (``num_segmentation_heads``, Z, Y, X), with probabilities of at least 0.01 %: their logarithm is finite.
    """
    if not label_manager.has_regions:
        return shares.clamp(min=LEAST_PROBABILITY).log()
    place = {label: number for number, label in enumerate(label_manager.all_labels)}
    regions = [
        region if isinstance(region, (tuple, list)) else (region,) for region in label_manager.foreground_regions
    ]
    probabilities = torch.stack([shares[[place[label] for label in region]].sum(dim=0) for region in regions])
    return torch.logit(probabilities.clamp(LEAST_PROBABILITY, 1 - LEAST_PROBABILITY))


def refinement(label_manager: LabelManager) -> list[dict[str, Any]]:
    """Arguments of nnU-Net's ``remove_all_but_largest_component_from_segmentation``, one after the other.

    As ``determine_postprocessing`` tries them: the whole foreground, then each label or region; here all are applied,
    since there is no validation that could tell which help.
    """
    parts = label_manager.foreground_regions if label_manager.has_regions else label_manager.foreground_labels
    whole = [{"labels_or_regions": list(label_manager.foreground_labels)}]
    return whole + [{"labels_or_regions": part} for part in parts if len(parts) > 1]


def refine(segmentation: np.ndarray, label_manager: LabelManager) -> np.ndarray:
    """Keeps the largest components of a label map (Z, Y, X)."""
    for arguments in refinement(label_manager):
        segmentation = remove_all_but_largest_component_from_segmentation(segmentation, **arguments)
    return segmentation


def export(
    model: FeatureModel,
    shares: torch.Tensor,
    properties: dict[str, Any],
    truncated: Path,
    refined: bool,
    save_probabilities: bool = False,
) -> Path:
    """Writes a segmentation in the original geometry, by nnU-Net's own export; returns its file.

    Args:
        model: The checkpoint.
        shares: See :func:`class_shares`.
        properties: Of the preprocessed image.
        truncated: The file without its ending.
        refined: Whether to keep only the largest components; the probabilities stay as they are.
        save_probabilities: Whether nnU-Net also writes ``.npz`` and ``.pkl``.

    Raises:
        OSError: the disk is full.
    """
    export_prediction_from_logits(
        logits_of_shares(shares, model.label_manager).numpy(),
        properties,
        model.configuration,
        model.plans_manager,
        model.dataset_json,
        str(truncated),
        save_probabilities,
        num_threads_torch=torch.get_num_threads(),
    )
    file = Path(f"{truncated}{model.file_ending}")
    require_whole(file)
    if refined:
        steps = refinement(model.label_manager)
        functions = [remove_all_but_largest_component_from_segmentation] * len(steps)
        load_postprocess_save(str(file), str(file), model.plans_manager.image_reader_writer_class(), functions, steps)
        require_whole(file)
    return file
