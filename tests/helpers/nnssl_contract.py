"""What nnU-Net's fine-tuning of nnssl checkpoints asks of a file, and a reader that does what it does.

Written after nnunetv2/experiment_planning/like_nnssl.py and training/nnUNetTrainer/pretraining/pretrainedTrainer.py on
nnU-Net's main branch, which nnunetv2 2.8.1 does not have.
"""

import json

import torch
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

TOP_LEVEL = {"network_weights", "nnssl_adaptation_plan", "citations", "trainer_name"}
PLAN = {
    "architecture_plans",
    "pretrain_plan",
    "pretrain_num_input_channels",
    "recommended_downstream_patchsize",
    "key_to_encoder",
    "key_to_stem",
    "keys_to_in_proj",
    "key_to_lpe",
}
PRETRAIN_PLAN = {
    "dataset_name",
    "plans_name",
    "original_median_spacing_after_transp",
    "image_reader_writer",
    "transpose_forward",
    "transpose_backward",
    "experiment_planner_used",
    "configurations",
}
STEMS = {
    "ResidualEncoderUNet": "encoder.stem",
    "PlainConvUNet": "encoder.stages.0",
}
DEPTHS = {"ResidualEncoderUNet": "n_blocks_per_stage", "PlainConvUNet": "n_conv_per_stage"}


def check_contract(file, configuration):
    """Checks every field of an exported file against the plans that it was trained with.

    Args:
        file: The exported file.
        configuration: The configuration in nnU-Net's plans.
    """
    checkpoint = torch.load(file, weights_only=True)
    assert checkpoint.keys() == TOP_LEVEL | {"pix2rep"}
    plan = checkpoint["nnssl_adaptation_plan"]
    assert plan.keys() == PLAN
    assert json.loads(json.dumps(plan)) == plan, "nnU-Net writes parts of it into a plans file"
    check_architecture(plan["architecture_plans"], configuration)
    check_pretrain_plan(plan["pretrain_plan"], configuration)
    assert plan["pretrain_num_input_channels"] == 1
    assert plan["recommended_downstream_patchsize"] == list(configuration["patch_size"])
    assert all(type(length) is int for length in plan["recommended_downstream_patchsize"])
    name = plan["architecture_plans"]["arch_class_name"]
    assert (plan["key_to_encoder"], plan["key_to_stem"]) == ("encoder.stages", STEMS[name])
    for key in plan["keys_to_in_proj"]:
        assert key.startswith(STEMS[name])
        assert checkpoint["network_weights"][f"{key}.weight"].shape[1] == 1
    assert plan["key_to_lpe"] is None
    assert all(value.device.type == "cpu" for value in checkpoint["network_weights"].values())
    for citation in checkpoint["citations"]:
        assert {"type", "name", "apa_citations"} == citation.keys()


def check_architecture(architecture, configuration):
    """The network, by a name that nnU-Net's trainers know and with classes as dotted names."""
    name = architecture["arch_class_name"]
    assert configuration["architecture"]["network_class_name"].endswith(f".{name}")
    assert architecture["arch_kwargs"] == configuration["architecture"]["arch_kwargs"]
    assert DEPTHS[name] in architecture["arch_kwargs"]
    assert architecture["arch_kwargs_requiring_import"] == configuration["architecture"]["_kw_requires_import"]
    for key in architecture["arch_kwargs_requiring_import"]:
        assert architecture["arch_kwargs"][key] is None or "." in architecture["arch_kwargs"][key]


def check_pretrain_plan(plan, configuration):
    """nnU-Net reads spacing and patch size of the first configuration."""
    assert plan.keys() == PRETRAIN_PLAN
    (first,) = plan["configurations"].values()
    assert first["spacing"] == configuration["spacing"]
    assert len(first["spacing"]) == len(first["patch_size"]) == 3
    assert first["patch_size"] == list(configuration["patch_size"])


def read_as_nnunet(file):
    """The downstream network that PretrainedTrainer makes of a file, with its encoder and stem loaded strictly."""
    checkpoint = torch.load(file, weights_only=True, map_location="cpu")
    plan, weights = checkpoint["nnssl_adaptation_plan"], checkpoint["network_weights"]
    architecture = plan["architecture_plans"]
    network = get_network_from_plans(
        architecture["arch_class_name"],
        architecture["arch_kwargs"],
        architecture["arch_kwargs_requiring_import"],
        plan["pretrain_num_input_channels"],
        3,
        deep_supervision=False,
    )
    for source, target in (
        (plan["key_to_encoder"], network.key_to_encoder),
        (plan["key_to_stem"], network.key_to_stem),
    ):
        part = {
            key.replace(source, "").removeprefix("."): value for key, value in weights.items() if key.startswith(source)
        }
        network.get_submodule(target).load_state_dict(part)
    return network
