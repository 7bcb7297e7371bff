"""Settings of the supervised stage."""

from __future__ import annotations

from dataclasses import dataclass

from nnunet_pix2rep.config.fields import setting
from nnunet_pix2rep.config.input_channels import input_channels_setting


@dataclass(frozen=True)
class FinetuningConfig:
    """Settings of the supervised stage."""

    num_epochs: int = setting(1000, "epochs", "nnU-Net", 1)
    num_iterations_per_epoch: int = setting(250, "training steps per epoch", "nnU-Net", 1)
    num_val_iterations_per_epoch: int = setting(50, "validation steps per epoch", "nnU-Net", 1)
    save_every: int = setting(50, "epochs between two checkpoint_latest.pth", "nnU-Net", 1)

    other_input_channels: str = input_channels_setting()
    trainable: str = setting(
        "all",
        "what is trained: everything, the decoder with its segmentation layers, or these alone",
        "ours",
        choices=("all", "decoder", "heads"),
    )
    optimizer: str = setting("adamw", "optimizer; sgd has nnU-Net's momentum of 0.99", "v2", choices=("adamw", "sgd"))
    backbone_lr: float = setting(
        1e-3,
        "peak learning rate of everything but the segmentation layers",
        "ours, experiment 1; 0.003 in 2D compact plans, experiment 47; the papers fine-tune at a tenth of the "
        "pretraining's rate",
        0.0,
        1.0,
    )
    head_lr: float = setting(1e-2, "learning rate of the segmentation layers", "ours, experiment 1", 0.0, 1.0)
    weight_decay: float = setting(3e-5, "weight decay", "nnU-Net", 0.0, 1.0)
    head_first_fraction: float = setting(
        0.05, "part of the training in which the segmentation layers train alone", "ours, experiment 1", 0.0, 0.9
    )
    warmup_fraction: float = setting(
        0.05,
        "part of the training after that with a rising learning rate of the backbone; polynomial decay follows",
        "v2",
        0.0,
        0.9,
    )

    elastic_probability: float = setting(
        0.3,
        "part of the 2D training patches that are deformed elastically, image and labels alike; 3D ones never are, and "
        "nnU-Net deforms none",
        "ours, experiments 38 and 39",
        0.0,
        1.0,
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
