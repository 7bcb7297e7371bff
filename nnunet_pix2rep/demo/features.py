"""Pictures of what a pretraining has learned: the pixel features of its network, as colours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.label_handling.label_handling import determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from sklearn.decomposition import PCA
from torch.nn.functional import interpolate, pad

from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.checkpoint import compare_weights, load_checkpoint_file
from nnunet_pix2rep.nnunet.network import DecoderFeatures

PIXELS_PER_IMAGE = 1000
DARKEST, BRIGHTEST = 1, 99  # percentiles


def read_plans(fold_folder: Path) -> tuple[PlansManager, ConfigurationManager]:
    """The plans and the configuration of a training, from nnU-Net's results folder of a fold."""
    plans_manager = PlansManager(read_json(fold_folder.parent / "plans.json"))
    # nnU-Net names the folder Trainer__Plans__Configuration
    return plans_manager, plans_manager.get_configuration(fold_folder.parent.name.split("__")[-1])


def load_feature_network(fold_folder: Path) -> DecoderFeatures:
    """The network of a pretraining with its final weights, for 2D configurations.

    Args:
        fold_folder: nnU-Net's results folder of the fold, such as ``nnUNetTrainerPix2RepV2Pretrain__.../fold_0``.

    Raises:
        UserError: a file is missing, or the checkpoint does not fit the plans.
    """
    plans_manager, configuration = read_plans(fold_folder)
    dataset_json = read_json(fold_folder.parent / "dataset.json")
    planned = nnUNetTrainer.build_network_architecture(
        plans_manager,
        configuration,
        determine_num_input_channels(plans_manager, configuration, dataset_json),
        plans_manager.get_label_manager(dataset_json).num_segmentation_heads,
        enable_deep_supervision=False,
    )
    checkpoint_file = fold_folder / "checkpoint_final.pth"
    weights = load_checkpoint_file(checkpoint_file)["network_weights"]
    compare_weights(weights, planned).require_match(checkpoint_file)
    planned.load_state_dict(weights)
    return DecoderFeatures(planned, "hypercolumn").eval()


@torch.no_grad()
def pixel_features(network: DecoderFeatures, image: np.ndarray) -> np.ndarray:
    """Features of every pixel, each decoder stage with the same weight.

    Args:
        network: Of 2D images.
        image: Preprocessed image, shape (C, Y, X).

    Returns:
        Shape (Y, X, sum of the stages' channels), float32.
    """
    rows, columns = image.shape[1:]
    # The encoder halves the image once per stage.
    multiple = 2 ** (len(network.planned.decoder.stages))
    batch = pad(torch.from_numpy(image).float()[None], (0, -columns % multiple, 0, -rows % multiple), mode="replicate")
    stages = []
    for feature_map in network(batch):
        full = interpolate(feature_map, size=batch.shape[2:], mode="bilinear", align_corners=False)
        stages.append(full[0, :, :rows, :columns] / (full.std() * full.shape[1] ** 0.5))
    return torch.cat(stages).permute(1, 2, 0).numpy()


def colours_of_features(features: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The first three principal components as red, green and blue, in one basis for all images.

    Args:
        features: Shape (Y, X, channels) each; the sizes may differ.

    Returns:
        Shape (Y, X, 3) each, from 0 to 1.
    """
    generator = np.random.default_rng(0)
    pixels = [image.reshape(-1, image.shape[-1]) for image in features]
    sample = np.concatenate([rows[generator.permutation(len(rows))[:PIXELS_PER_IMAGE]] for rows in pixels])
    basis = PCA(3, svd_solver="full").fit(sample)
    low, high = np.percentile(basis.transform(sample), [DARKEST, BRIGHTEST], axis=0)
    return [
        np.clip((basis.transform(rows) - low) / (high - low), 0, 1).reshape(*image.shape[:2], 3)
        for rows, image in zip(pixels, features, strict=True)
    ]
