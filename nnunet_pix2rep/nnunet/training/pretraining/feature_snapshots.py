"""The picture that a pretraining writes now and then: the features of fixed validation patches."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd

from nnunet_pix2rep.feature_pictures import plot_patches
from nnunet_pix2rep.geometry.grids import identity_grid
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase
from nnunet_pix2rep.pretraining import PixelEmbedder

NUM_PATCHES = 4


def picture_file(output_folder: str | Path, num_epochs_done: int) -> Path:
    """Where the picture after so many epochs goes."""
    return Path(output_folder) / f"features_epoch_{num_epochs_done:04d}.png"


def is_picture_due(num_epochs_done: int, num_epochs: int, every: int) -> bool:
    """Whether to draw: after every so many epochs and after the last one; never where ``every`` is 0."""
    return every > 0 and (num_epochs_done % every == 0 or num_epochs_done == num_epochs)


def central_patches(cases: Sequence[ImageCase], patch_size: Sequence[int]) -> tuple[list[str], torch.Tensor]:
    """The patches in the middle of up to four evenly spaced cases.

    Args:
        cases: The validation cases.
        patch_size: Of the configuration, 2 or 3 axes.

    Returns:
        The names of the cases, and the patches, shape (B, C, *patch_size), float32.
    """
    chosen = np.linspace(0, len(cases) - 1, min(NUM_PATCHES, len(cases))).round().astype(int)
    patches = []
    for case in (cases[number] for number in chosen):
        image = case.open()
        size = (1,) * (3 - len(patch_size)) + tuple(patch_size)
        lower = [(length - wanted) // 2 for length, wanted in zip(image.shape[1:], size, strict=True)]
        box = [[low, low + wanted] for low, wanted in zip(lower, size, strict=True)]
        patches.append(torch.from_numpy(crop_and_pad_nd(image, box, 0)).float())
    stacked = torch.stack(patches)
    return [cases[number].identifier for number in chosen], stacked[:, :, 0] if len(patch_size) == 2 else stacked


@torch.no_grad()
def plot_snapshot(embedder: PixelEmbedder, patches: torch.Tensor, title: str, path: Path) -> None:
    """Draws the middle slices of patches and the features below the projection head.

    Args:
        embedder: The network in training; its mode is restored.
        patches: Shape (B, C, *S).
        title: Stands above.
        path: The PNG file.
    """
    device = next(embedder.parameters()).device
    grid = identity_grid(patches.shape[2:])
    middle = patches.shape[2] // 2
    if patches.ndim == 5:
        grid, images = grid[middle], patches[:, 0, middle]
    else:
        images = patches[:, 0]
    points = grid.flatten(0, -2)[None].to(device)
    was_training = embedder.training
    embedder.eval()
    try:
        # patch by patch: no more memory than a training step takes
        features = [embedder.pixel_features(patch[None].to(device), points)[0].float().cpu() for patch in patches]
    finally:
        embedder.train(was_training)
    size = images.shape[1:]
    plot_patches(
        [image.numpy() for image in images],
        [rows.reshape(*size, -1).numpy() for rows in features],
        title,
        path,
    )
