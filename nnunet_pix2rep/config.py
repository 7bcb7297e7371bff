"""Every hyper-parameter of Pix2Rep: default, range, meaning and source.

The values come from the optional block ``"pix2rep"`` of a configuration in nnU-Net's plans file::

    "configurations": {"2d": {..., "pix2rep": {"pretraining": {"num_epochs": 200}, "finetuning": {...}}}}

A missing block, part or key means the default. Sources named below: v1 = Pix2Rep (MIDL 2024, arXiv 2407.20395), v2 =
Pix2Rep-v2 (arXiv 2609.01427), nnU-Net = nnunetv2 2.8.1, nnUNetTrainer.py.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_type_hints

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.settings import read_settings, setting

BLOCK_NAME = "pix2rep"


@dataclass(frozen=True)
class PretrainingConfig:
    """Settings of the self-supervised stage."""

    num_epochs: int = setting(200, "epochs", "v1", 1)
    num_iterations_per_epoch: int = setting(250, "training steps per epoch", "nnU-Net", 1)
    num_val_iterations_per_epoch: int = setting(
        20, "validation steps per epoch, on the same views in every epoch", "ours", 1
    )
    save_every: int = setting(10, "epochs between two checkpoint_latest.pth", "ours", 1)
    picture_every: int = setting(
        10, "epochs between two pictures of the features (features_epoch_0010.png, ...); 0: none", "ours", 0
    )
    seed: int = setting(0, "seed of views, sampled pixels and initial weights", "ours", 0)

    initial_lr: float = setting(1e-3, "peak learning rate of AdamW", "ours; v1 has 4.7e-4, v2 5e-4", 0.0, 1.0)
    weight_decay: float = setting(1e-4, "weight decay of AdamW", "ours", 0.0, 1.0)
    warmup_fraction: float = setting(
        0.05, "part of the training with rising learning rate; a cosine follows", "v2", 0.0, 0.9
    )
    gradient_clipping: float = setting(12.0, "largest norm of the gradient", "nnU-Net", 0.0)

    features: str = setting(
        "hypercolumn",
        "pixel features: of all decoder stages, or of the last one only",
        "ours: wider features, as both papers ask for, on the planned network",
        choices=("hypercolumn", "last_stage"),
    )
    num_points: int = setting(4096, "pixel pairs per batch", "ours; v1's code has 1000", 2)
    projection_hidden_channels: int = setting(256, "hidden channels of the projection head", "v1", 1)
    projection_channels: int = setting(256, "output channels of the projection head", "v1", 2)
    temperature: float = setting(0.5, "temperature of InfoNCE", "v1; its code has 0.53", 1e-3, 100.0)
    info_nce_negatives: int | None = setting(
        254,
        "largest number of negatives of a pixel in InfoNCE, whose cost grows with it; null: all other pixels",
        "ours (docs/performance.md); v1 has all",
        2,
    )
    info_nce_chunk_size: int = setting(
        512, "rows and columns of the part of InfoNCE's similarity matrix that is in memory at once", "ours", 1
    )
    redundancy_weight: float = setting(5e-3, "lambda of Barlow Twins: weight of the off-diagonal terms", "v2", 0.0)
    vicreg_invariance_weight: float = setting(
        25.0, "VICReg: weight of the distance of the pairs", "Bardes et al. 2022", 0.0
    )
    vicreg_variance_weight: float = setting(
        25.0, "VICReg: weight of channels that vary too little", "Bardes et al. 2022", 0.0
    )
    vicreg_covariance_weight: float = setting(1.0, "VICReg: weight of channels that agree", "Bardes et al. 2022", 0.0)

    rotation_degrees: tuple[float, float] | None = setting(
        None, "rotation range; null: nnU-Net's rule for the patch", "nnU-Net", -180, 180
    )
    mirror_axes: tuple[int, ...] | None = setting(
        None, "axes that may be mirrored; null: nnU-Net's rule", "nnU-Net", 0, 2
    )
    zoom: tuple[float, float] = setting(
        (0.5, 1.25),
        "width of view 2 in widths of view 1; below 1 magnifies",
        "ours; v1 has 0.33 to 0.95, nnU-Net 0.7 to 1.4",
        0.1,
        3.0,
    )
    translation: float = setting(0.1, "largest shift of view 2, in widths of the view", "ours", 0.0, 0.5)
    elastic_probability: float = setting(0.5, "probability of an elastic deformation", "ours", 0.0, 1.0)
    elastic_coarse_amplitude: float = setting(
        0.0625, "largest shift of the 5-point B-spline grid, in widths of the view", "v2: 8 of 128 pixels", 0.0, 0.1
    )
    elastic_fine_amplitude: float = setting(
        0.02, "largest shift of the 9-point B-spline grid, in widths of the view", "v2: 2.5 of 128 pixels", 0.0, 0.05
    )
    multiscale_probability: float = setting(
        0.0, "probability that both views come from a magnified square", "v2 (off in v1)", 0.0, 1.0
    )
    multiscale_range: tuple[float, float] = setting(
        (0.33, 0.75), "width of that square, in shorter widths of the view", "v2", 0.1, 1.0
    )

    noise_probability: float = setting(0.3, "probability of Gaussian noise", "ours; v1's set of transforms", 0.0, 1.0)
    noise_variance: tuple[float, float] = setting(
        (0.0, 0.1), "variance of the noise, in standard deviations of the image", "nnU-Net", 0.0, 1.0
    )
    blur_probability: float = setting(0.3, "probability of Gaussian blur", "ours; v1's set", 0.0, 1.0)
    blur_sigma: tuple[float, float] = setting(
        (0.5, 1.5), "width of the blur in voxels", "ours; nnU-Net has 0.5 to 1", 0.0, 10.0
    )
    brightness_probability: float = setting(0.3, "probability of a brightness factor", "ours", 0.0, 1.0)
    brightness_range: tuple[float, float] = setting(
        (0.7, 1.3), "brightness factor", "ours; nnU-Net has 0.75 to 1.25", 0.0, 5.0
    )
    contrast_probability: float = setting(0.3, "probability of a contrast factor", "ours", 0.0, 1.0)
    contrast_range: tuple[float, float] = setting(
        (0.7, 1.3), "contrast factor", "ours; nnU-Net has 0.75 to 1.25", 0.0, 5.0
    )
    gamma_probability: float = setting(0.4, "probability of a gamma correction", "ours; v1's set", 0.0, 1.0)
    inverted_gamma_probability: float = setting(
        0.2, "probability of a gamma correction of the inverted image", "ours", 0.0, 1.0
    )
    gamma_range: tuple[float, float] = setting((0.6, 1.7), "gamma", "ours; nnU-Net has 0.7 to 1.5", 0.1, 10.0)
    inversion_probability: float = setting(0.2, "probability of inverted intensities", "ours; v1's set", 0.0, 1.0)
    low_resolution_probability: float = setting(0.2, "probability of a simulated low resolution", "ours", 0.0, 1.0)
    low_resolution_range: tuple[float, float] = setting((0.5, 1.0), "factor of the resolution", "nnU-Net", 0.2, 1.0)
    bias_field_probability: float = setting(
        0.3, "probability of a smooth brightness gradient", "ours; v1's set", 0.0, 1.0
    )
    bias_field_strength: tuple[float, float] = setting(
        (-0.8, 0.8), "strength of the gradient, in standard deviations of the image", "ours", -10.0, 10.0
    )

    mask_ratio: float = setting(0.75, "masked autoencoder: part of the blocks that is masked", "nnssl", 0.05, 0.95)
    mask_block_size: int = setting(
        16, "masked autoencoder: width of a block in voxels, at most the network's stride along the axis", "nnssl", 1
    )


@dataclass(frozen=True)
class FinetuningConfig:
    """Settings of the supervised stage."""

    num_epochs: int = setting(1000, "epochs", "nnU-Net", 1)
    num_iterations_per_epoch: int = setting(250, "training steps per epoch", "nnU-Net", 1)
    num_val_iterations_per_epoch: int = setting(50, "validation steps per epoch", "nnU-Net", 1)
    save_every: int = setting(50, "epochs between two checkpoint_latest.pth", "nnU-Net", 1)

    trainable: str = setting(
        "all",
        "what is trained: everything, the decoder with its segmentation layers, or these alone",
        "ours",
        choices=("all", "decoder", "heads"),
    )
    optimizer: str = setting("adamw", "optimiser; sgd has nnU-Net's momentum of 0.99", "v2", choices=("adamw", "sgd"))
    backbone_lr: float = setting(
        1e-3,
        "peak learning rate of everything but the segmentation layers",
        "ours, docs/experiments.md; the papers fine-tune at a tenth of the pretraining's rate",
        0.0,
        1.0,
    )
    head_lr: float = setting(1e-2, "learning rate of the segmentation layers", "ours, docs/experiments.md", 0.0, 1.0)
    weight_decay: float = setting(3e-5, "weight decay", "nnU-Net", 0.0, 1.0)
    head_first_fraction: float = setting(
        0.05, "part of the training in which the segmentation layers train alone", "ours, docs/experiments.md", 0.0, 0.9
    )
    warmup_fraction: float = setting(
        0.05,
        "part of the training after that with a rising learning rate of the backbone; polynomial decay follows",
        "v2",
        0.0,
        0.9,
    )

    probe_lr: float = setting(1e-2, "linear probe: learning rate of the segmentation layers", "ours", 0.0, 10.0)

    ema_decay: float = setting(
        0.99, "Mean Teacher: decay of the teacher's average of weights", "Tarvainen and Valpola 2017", 0.0, 0.99999
    )
    consistency_weight: float = setting(
        1.0, "Mean Teacher: weight of the consistency loss after the ramp-up", "ours", 0.0, 1000.0
    )
    ramp_up_fraction: float = setting(
        0.2, "Mean Teacher: part of the training in which that weight rises", "ours", 0.0, 1.0
    )


@dataclass(frozen=True)
class Pix2RepConfig:
    """The whole block ``"pix2rep"``."""

    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    finetuning: FinetuningConfig = field(default_factory=FinetuningConfig)

    @classmethod
    def from_block(cls, block: dict[str, Any] | None, source: str) -> Pix2RepConfig:
        """Reads the block of a plans file.

        Args:
            block: The content of the key ``"pix2rep"``; None or missing keys mean the defaults.
            source: The file that the block comes from, for error messages.

        Raises:
            UserError: an unknown key, a wrong type or a value out of its range.
        """
        if block is None:
            return cls()
        if not isinstance(block, dict):
            raise UserError(
                f'"{BLOCK_NAME}" in {source} must be an object with the parts {_names(cls)}, but is {block!r}.'
            )
        parts = {}
        for part_name, values in block.items():
            part_class = get_type_hints(cls).get(part_name)
            if part_class is None:
                raise UserError(f'Unknown key "{BLOCK_NAME}.{part_name}" in {source}. Known parts: {_names(cls)}.')
            if not isinstance(values, dict):
                raise UserError(
                    f'"{BLOCK_NAME}.{part_name}" in {source} must be an object of settings, but is {values!r}.'
                )
            parts[part_name] = read_settings(part_class, values, f"{BLOCK_NAME}.{part_name}", source)
        return cls(**parts)

    def to_block(self) -> dict[str, dict[str, Any]]:
        """All settings as plain Python values, as they may stand in a plans file or a checkpoint."""
        return json.loads(json.dumps(asdict(self)))  # tuples become lists

    def with_settings(self, settings: Sequence[str], source: str = "--set") -> Pix2RepConfig:
        """Returns a copy with settings like ``pretraining.num_epochs=200`` applied; see :func:`parse_settings`."""
        block = self.to_block()
        for part, values in parse_settings(settings, source).items():
            block.setdefault(part, {}).update(values)
        return Pix2RepConfig.from_block(block, source)


def parse_settings(settings: Sequence[str], source: str = "--set") -> dict[str, dict[str, Any]]:
    """Turns ``["pretraining.num_epochs=200"]`` into ``{"pretraining": {"num_epochs": 200}}``.

    Values are JSON (``200``, ``0.5``, ``[0.5, 1.2]``, ``null``); anything that is not JSON is taken as text.

    Raises:
        UserError: a setting without ``part.name=value``.
    """
    block: dict[str, dict[str, Any]] = {}
    for text in settings:
        key, separator, value = text.partition("=")
        part, dot, name = key.strip().partition(".")
        if not (separator and dot and part and name):
            raise UserError(
                f'{source} {text!r} is not of the form part.name=value, for instance "pretraining.num_epochs=200".'
            )
        try:
            parsed = json.loads(value)
        except json.JSONDecodeError:
            parsed = value.strip()
        block.setdefault(part, {})[name] = parsed
    return block


def _names(cls: type) -> str:
    return ", ".join(item.name for item in fields(cls))
