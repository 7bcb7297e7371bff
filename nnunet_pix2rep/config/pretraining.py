"""Settings of the self-supervised stage, part by part. What names a source: see the package."""

from __future__ import annotations

from dataclasses import dataclass, field

from nnunet_pix2rep.config.fields import setting
from nnunet_pix2rep.config.input_channels import input_channels_setting
from nnunet_pix2rep.config.seeds import MAX_SEED


@dataclass(frozen=True)
class OptimizationConfig:
    """Optimizer and schedule of the self-supervised stage."""

    initial_lr: float = setting(1e-3, "peak learning rate of AdamW", "ours; v1 has 4.7e-4, v2 5e-4", 0.0, 1.0)
    weight_decay: float = setting(1e-4, "weight decay of AdamW", "ours", 0.0, 1.0)
    warmup_fraction: float = setting(
        0.05, "part of the training with rising learning rate; a cosine follows", "v2", 0.0, 0.9
    )
    gradient_clipping: float = setting(12.0, "largest norm of the gradient", "nnU-Net", 0.0)


@dataclass(frozen=True)
class ViewsConfig:
    """How the two views of a patch are made."""

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


@dataclass(frozen=True)
class SamplingConfig:
    """Which features of which pixels are compared."""

    features: str = setting(
        "hypercolumn",
        "pixel features: of all decoder stages, or of the last one only",
        "ours: wider features, as both papers ask for, on the planned network",
        choices=("hypercolumn", "last_stage"),
    )
    num_points: int = setting(4096, "pixel pairs per batch", "ours; v1's code has 1000", 2)


@dataclass(frozen=True)
class HeadConfig:
    """The projection head."""

    hidden_channels: int = setting(256, "hidden channels", "v1", 1)
    channels: int = setting(256, "output channels", "v1", 2)


@dataclass(frozen=True)
class InfoNCEConfig:
    """InfoNCE; the arguments of its loss."""

    temperature: float = setting(0.5, "temperature", "v1; its code has 0.53", 1e-3, 100.0)
    chunk_size: int = setting(
        512, "rows and columns of the part of the similarity matrix that is in memory at once", "ours", 1
    )
    negatives: int | None = setting(
        254,
        "largest number of negatives of a pixel; the cost grows with it; null: all other pixels",
        "ours, for its cost (docs/explanation/performance.md); v1 has all",
        2,
    )


@dataclass(frozen=True)
class BarlowTwinsConfig:
    """Barlow Twins; the arguments of its loss."""

    redundancy_weight: float = setting(5e-3, "lambda: weight of the off-diagonal terms", "v2", 0.0)


@dataclass(frozen=True)
class VICRegConfig:
    """VICReg; the arguments of its loss."""

    invariance_weight: float = setting(25.0, "weight of the distance of the pairs", "Bardes et al. 2022", 0.0)
    variance_weight: float = setting(25.0, "weight of channels that vary too little", "Bardes et al. 2022", 0.0)
    covariance_weight: float = setting(1.0, "weight of channels that agree", "Bardes et al. 2022", 0.0)


@dataclass(frozen=True)
class MaskedAutoencoderConfig:
    """The masked autoencoder."""

    mask_ratio: float = setting(0.75, "part of the blocks that is masked", "nnssl", 0.05, 0.95)
    block_size: int = setting(16, "width of a block in voxels, at most the network's stride along the axis", "nnssl", 1)


@dataclass(frozen=True)
class PretrainingConfig:
    """The self-supervised stage: its length and its parts."""

    num_epochs: int = setting(200, "epochs", "v1", 1)
    num_iterations_per_epoch: int = setting(250, "training steps per epoch", "nnU-Net", 1)
    num_val_iterations_per_epoch: int = setting(
        20, "validation steps per epoch, on the same views in every epoch", "ours", 1
    )
    save_every: int = setting(10, "epochs between two checkpoint_latest.pth", "ours", 1)
    picture_every: int = setting(
        10, "epochs between two pictures of the features (features_epoch_0010.png, ...); 0: none", "ours", 0
    )
    seed: int = setting(0, "seed of views, sampled pixels and initial weights", "ours", 0, MAX_SEED)
    other_input_channels: str = input_channels_setting()

    optimization: OptimizationConfig = field(default_factory=OptimizationConfig)
    views: ViewsConfig = field(default_factory=ViewsConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    info_nce: InfoNCEConfig = field(default_factory=InfoNCEConfig)
    barlow_twins: BarlowTwinsConfig = field(default_factory=BarlowTwinsConfig)
    vicreg: VICRegConfig = field(default_factory=VICRegConfig)
    masked_autoencoder: MaskedAutoencoderConfig = field(default_factory=MaskedAutoencoderConfig)
