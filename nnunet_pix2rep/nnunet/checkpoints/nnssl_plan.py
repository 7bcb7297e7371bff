"""The ``nnssl_adaptation_plan``: what nnU-Net's fine-tuning of nnssl checkpoints has to know of a pretraining.

Written after nnssl's adaptation_planning/adaptation_plan.py and what reads it on nnU-Net's main branch:
nnunetv2/experiment_planning/like_nnssl.py and training/nnUNetTrainer/pretraining/. Neither is in nnunetv2 2.8.1.
"""

from __future__ import annotations

import shutil
from importlib.metadata import entry_points
from typing import Any

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.networks.planned_network import PlannedNetwork

PLAN_KEY = "nnssl_adaptation_plan"
PLAN_COMMANDS = ("nnUNetv2_plan_like_dynamic", "nnUNetv2_preprocess_like_nnssl")
TRAIN_COMMAND = "nnUNetv2_train_pretrained"
# the U-Nets that build_network_architecture of nnU-Net's pretrainedTrainer.py knows
ARCHITECTURES = ("ResidualEncoderUNet", "PlainConvUNet")
_PLAN_FIELDS = (
    "dataset_name",
    "plans_name",
    "original_median_spacing_after_transp",
    "image_reader_writer",
    "transpose_forward",
    "transpose_backward",
    "experiment_planner_used",
)
_CONFIGURATION_FIELDS = (
    "data_identifier",
    "preprocessor_name",
    "spacing",
    "patch_size",
    "normalization_schemes",
    "use_mask_for_norm",
    "resampling_fn_data",
    "resampling_fn_data_kwargs",
)


def adaptation_plan(planned: PlannedNetwork, network: Any) -> dict[str, Any]:
    """The plan of a network, in plain Python values.

    Args:
        planned: Its plans.
        network: The network itself, which knows the names of its parts.

    Raises:
        UserError: the network is two-dimensional, or of an architecture that the chain cannot build.
    """
    settings = planned.settings
    name = type(network).__name__
    if len(settings["patch_size"]) != 3:
        raise UserError(
            f"nnU-Net's fine-tuning of nnssl checkpoints is for 3D networks, but {planned.configuration} is "
            f"{len(settings['patch_size'])}D. Use the checkpoint itself with -pretrained_weights, or --format nnunet."
        )
    if name not in ARCHITECTURES:
        raise UserError(
            f"nnU-Net's fine-tuning of nnssl checkpoints builds {' and '.join(ARCHITECTURES)}, not {name}. Use the "
            "checkpoint itself with -pretrained_weights, or --format nnunet."
        )
    architecture = settings["architecture"]
    patch_size = [int(length) for length in settings["patch_size"]]
    configuration = {field: settings[field] for field in _CONFIGURATION_FIELDS if field in settings}
    return {
        "architecture_plans": {
            "arch_class_name": name,
            "arch_kwargs": architecture["arch_kwargs"],
            "arch_kwargs_requiring_import": list(architecture["_kw_requires_import"]),
        },
        "pretrain_plan": {
            **{field: planned.plans[field] for field in _PLAN_FIELDS},
            "configurations": {planned.configuration: configuration | {"patch_size": patch_size}},
        },
        "pretrain_num_input_channels": planned.num_input_channels,
        "recommended_downstream_patchsize": patch_size,
        "key_to_encoder": network.key_to_encoder,
        "key_to_stem": network.key_to_stem,
        "keys_to_in_proj": list(network.keys_to_in_proj),
        "key_to_lpe": network.key_to_lpe,
    }


def installed_commands() -> list[str]:
    """Those of nnU-Net's commands for nnssl checkpoints that are there, whatever version nnU-Net says it is."""
    declared = {script.name for script in entry_points(group="console_scripts")}
    return [name for name in (*PLAN_COMMANDS, TRAIN_COMMAND) if name in declared or shutil.which(name) is not None]
