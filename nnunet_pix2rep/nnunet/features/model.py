"""The network of a checkpoint, as a source of pixel features.

Takes any checkpoint of a planned U-Net, pretrained or fine-tuned: nnU-Net stores plans, configuration and dataset.json
in ``init_args`` (nnunetv2 2.8.1, ``nnUNetTrainer.save_checkpoint``), so the file alone is enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.label_handling.label_handling import LabelManager, determine_num_input_channels
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import nn
from torch.nn.functional import normalize

from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import (
    RECORD_KEY,
    SEGMENTATION_KEY_PART,
    compare_weights,
    load_checkpoint_file,
)
from nnunet_pix2rep.nnunet.networks.decoder_features import DecoderFeatures, build_pixel_embedder
from nnunet_pix2rep.nnunet.networks.planned_network import PlannedNetwork
from nnunet_pix2rep.sampling import features_at_points

FEATURES = ("projected", "hypercolumn", "last_stage")


class PixelFeatures(nn.Module):
    """Features of the pixels at given points.

    Args:
        feature_network: Takes images (1, C, *S) to a list of feature maps (1, C_i, *S_i).
        head: A projection head, which takes the concatenated features; None: the features of each map are normalized
            to unit length, so that all maps weigh the same in a cosine, and concatenated.
    """

    def __init__(self, feature_network: nn.Module, head: nn.Module | None = None):
        super().__init__()
        self.feature_network = feature_network
        self.head = head

    def forward(self, image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
        """Image (1, C, *S) and normalized points (m, D) to features (m, d), float32."""
        stages = [features_at_points(feature_map, points[None])[0] for feature_map in self.feature_network(image)]
        if self.head is not None:
            return self.head(torch.cat(stages, dim=1)).float()
        return torch.cat([normalize(stage.float(), dim=1) for stage in stages], dim=1)


@dataclass(frozen=True)
class FeatureModel:
    """A network with all that is needed to use it on raw images.

    Attributes:
        network: In eval mode, on ``device``.
        features: Which features it gives, one of ``FEATURES``.
        plans_manager: nnU-Net's plans.
        configuration: nnU-Net's configuration.
        dataset_json: The dataset's ``dataset.json``.
        mirror_axes: Axes that nnU-Net mirrors along in prediction; empty: none.
        record: What this package recorded in the checkpoint; empty for those of others.
        source: The checkpoint.
        device: Where the network is.
    """

    network: PixelFeatures
    features: str
    plans_manager: PlansManager
    configuration: ConfigurationManager
    dataset_json: dict[str, Any]
    mirror_axes: tuple[int, ...]
    record: dict[str, Any]
    source: Path
    device: torch.device

    @property
    def num_input_channels(self) -> int:
        """Channels of the images."""
        return determine_num_input_channels(self.plans_manager, self.configuration, self.dataset_json)

    @property
    def label_manager(self) -> LabelManager:
        """nnU-Net's labels or regions of the dataset."""
        return self.plans_manager.get_label_manager(self.dataset_json)

    @property
    def file_ending(self) -> str:
        """Ending of the dataset's files."""
        return self.dataset_json["file_ending"]

    @property
    def config(self) -> Pix2RepConfig:
        """The settings that the checkpoint was trained with; the defaults for those of others."""
        return Pix2RepConfig.from_record(self.record.get("config"), str(self.source))


def load_feature_model(checkpoint_file: Path, features: str | None, device: torch.device) -> FeatureModel:
    """Loads a checkpoint.

    Args:
        checkpoint_file: Of this package or of nnU-Net.
        features: One of ``FEATURES``; None: ``projected`` where the checkpoint has a projection head, else
            ``hypercolumn``.
        device: Where to put the network.

    Raises:
        UserError: the file is no such checkpoint, has no projection head where one is wanted, is of a cascade or of
            another architecture than a U-Net.
    """
    checkpoint = load_checkpoint_file(checkpoint_file)
    planned = PlannedNetwork.of_checkpoint(checkpoint, Path(checkpoint_file))
    record = checkpoint.get(RECORD_KEY, {})
    if features is None:
        features = "projected" if "projection_head" in record else "hypercolumn"
    planned_module = planned.build(deep_supervision=False)
    # exported files leave the segmentation layers out, which no feature depends on
    heads = {key: value for key, value in planned_module.state_dict().items() if SEGMENTATION_KEY_PART in key}
    weights = heads | checkpoint["network_weights"]
    compare_weights(weights, planned_module).require_match(checkpoint_file)
    planned_module.load_state_dict(weights)
    network = _build_pixel_features(planned_module, features, record, checkpoint_file)
    return FeatureModel(
        network=network.requires_grad_(False).eval().to(device),
        features=features,
        plans_manager=planned.plans_manager(),
        configuration=planned.configuration_manager(),
        dataset_json=planned.dataset_json,
        mirror_axes=tuple(checkpoint.get("inference_allowed_mirroring_axes") or ()),
        record=record,
        source=Path(checkpoint_file),
        device=device,
    )


def _build_pixel_features(planned: nn.Module, features: str, record: dict[str, Any], source: Path) -> PixelFeatures:
    if features != "projected":
        return PixelFeatures(DecoderFeatures(planned, features))
    if "projection_head" not in record:
        raise UserError(
            f"{source} has no projection head: only checkpoints of a Pix2Rep pretraining have one, fine-tuned ones do "
            "not. Use --features hypercolumn or last_stage, or the checkpoint of the pretraining."
        )
    embedder = build_pixel_embedder(planned, Pix2RepConfig.from_record(record.get("config"), str(source)).pretraining)
    compare_weights(record["projection_head"], embedder.head).require_match(source)
    embedder.head.load_state_dict(record["projection_head"])
    return PixelFeatures(embedder.feature_network, embedder.head)
