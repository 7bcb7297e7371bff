"""Features of chosen voxels of a preprocessed image, by nnU-Net's sliding window.

Tiles, padding and Gaussian weights are those of nnU-Net's prediction, made with its functions (nnunetv2 2.8.1,
inference/predict_from_raw_data.py, ``predict_sliding_window_return_logits``). nnU-Net's predictor itself holds all
output channels of the whole image in memory, which for features would be hundreds to a thousand; here only those of
the wanted voxels are computed and kept, and tiles without any are left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from acvl_utils.cropping_and_padding.padding import pad_nd_image
from nnunetv2.inference.sliding_window_prediction import compute_gaussian, compute_steps_for_sliding_window
from nnunetv2.utilities.helpers import dummy_context

from nnunet_pix2rep.nnunet.features.model import FeatureModel, PixelFeatures

TILE_STEP_SIZE = 0.5  # nnU-Net's default
BLOCK_BYTES = 2**29


class FeatureExtractor:
    """Computes features of voxels.

    Args:
        model: Network and patch size.
        mirroring: Whether to average the features of all mirrored versions of a tile, as nnU-Net does with its outputs.
        tile_step_size: Distance of two tiles in widths of a tile.
    """

    def __init__(self, model: FeatureModel, mirroring: bool = False, tile_step_size: float = TILE_STEP_SIZE):
        self.network: PixelFeatures = model.network
        self.device = model.device
        self.patch_size = tuple(model.configuration.patch_size)
        self.tile_step_size = tile_step_size
        axes = model.mirror_axes if mirroring else ()
        self.flips = [flip for number in range(len(axes) + 1) for flip in itertools.combinations(axes, number)]

    @torch.inference_mode()
    def features_at(self, image: np.ndarray, voxels: np.ndarray) -> torch.Tensor:
        """Features of voxels.

        Args:
            image: Preprocessed image, shape (C, Z, Y, X), float32.
            voxels: Indices into its spatial axes, shape (N, 3), int; N at least 1.

        Returns:
            Shape (N, d), float32, on the CPU.
        """
        is_2d = len(self.patch_size) == 2
        padded, unpad = pad_nd_image(
            torch.from_numpy(np.ascontiguousarray(image)).float(), self.patch_size, "constant", {"value": 0}, True, None
        )
        places = torch.from_numpy(voxels).long() + torch.tensor([part.start for part in unpad[1:]])
        gaussian = compute_gaussian(
            self.patch_size, sigma_scale=1 / 8, value_scaling_factor=10, dtype=torch.float32, device=torch.device("cpu")
        )
        total: torch.Tensor | None = None
        weight_sum = torch.zeros(len(places))
        first, last = int(places[:, 0].min()), int(places[:, 0].max())
        for start, size in self._tiles(padded.shape[1:], is_2d):
            if start[0] > last or start[0] + size[0] <= first:
                continue
            low = torch.tensor(start)
            inside = ((places >= low) & (places < low + torch.tensor(size))).all(dim=1).nonzero().flatten()
            if len(inside) == 0:
                continue
            tile = padded[(slice(None), *[slice(a, a + b) for a, b in zip(start, size, strict=True)])]
            local = places[inside] - low
            if is_2d:
                tile, local = tile[:, 0], local[:, 1:]
            features = self._features_of_tile(tile, local)
            weights = gaussian[tuple(local.T)]
            total = torch.zeros(len(places), features.shape[1]) if total is None else total
            total[inside] += features * weights[:, None]
            weight_sum[inside] += weights
        assert total is not None, "the tiles leave no voxel out"
        return total / weight_sum[:, None]

    def _tiles(self, size: Sequence[int], is_2d: bool) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
        """Start and size of nnU-Net's tiles along (z, y, x); those of a 2D configuration are one slice thick."""
        spatial = tuple(size[1:] if is_2d else size)
        steps = compute_steps_for_sliding_window(spatial, self.patch_size, self.tile_step_size)
        if is_2d:
            steps = [list(range(size[0])), *steps]
        for start in itertools.product(*steps):
            yield start, ((1, *self.patch_size) if is_2d else self.patch_size)

    def _features_of_tile(self, tile: torch.Tensor, voxels: torch.Tensor) -> torch.Tensor:
        """Features (m, d) of voxels (m, D) of a tile (C, *S), on the CPU."""
        image = tile[None].to(self.device)
        points = ((voxels * 2 + 1) / torch.tensor(self.patch_size) - 1).flip(-1).to(self.device)
        total = torch.zeros((), device=self.device)
        # AMP where nnU-Net uses it: on CUDA devices
        with torch.autocast("cuda") if self.device.type == "cuda" else dummy_context():
            for flip in self.flips:
                sign = torch.ones(len(self.patch_size), device=self.device)
                sign[list(flip)] = -1
                flipped = torch.flip(image, [axis + 2 for axis in flip])
                total = total + self.network(flipped, points * sign.flip(0)).float()
        return (total / len(self.flips)).cpu()

    def blocks(self, image: np.ndarray) -> Iterator[tuple[slice, torch.Tensor]]:
        """Features of all voxels, some slices at a time.

        Yields:
            Which slices (along z), and their features (number of slices * Y * X, d), in the order of the array. In 3D
            as many slices as fit into half a gigabyte: tiles that reach into several blocks are run for each.
        """
        depth, *plane = image.shape[1:]
        num_channels = self.features_at(image[:, :1], np.zeros((1, 3), dtype=np.int64)).shape[1]
        slices = 1 if len(self.patch_size) == 2 else max(1, BLOCK_BYTES // (4 * num_channels * int(np.prod(plane))))
        for first in range(0, depth, slices):
            block = slice(first, min(depth, first + slices))
            yield block, self.features_at(image, voxels_of(block, plane))


def voxels_of(block: slice, plane: Sequence[int]) -> np.ndarray:
    """Indices (N, 3) of all voxels of some slices, in the order of the array."""
    voxels = np.indices((block.stop - block.start, *plane)).reshape(3, -1).T.copy()
    voxels[:, 0] += block.start
    return voxels
