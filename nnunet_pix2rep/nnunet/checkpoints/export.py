"""A checkpoint as a small file for others: for nnU-Net's ``-pretrained_weights``, or for its nnssl chain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import check_target
from nnunet_pix2rep.nnunet.checkpoints.files import (
    RECORD_KEY,
    SEGMENTATION_KEY_PART,
    load_checkpoint_file,
    save_checkpoint_file,
)
from nnunet_pix2rep.nnunet.checkpoints.nnssl_plan import PLAN_KEY, adaptation_plan
from nnunet_pix2rep.nnunet.checkpoints.transfer import transfer_weights
from nnunet_pix2rep.nnunet.networks.planned_network import INIT_ARGS, PlannedNetwork

FORMATS = ("nnunet", "nnssl")
EXAMPLE = "weights.pth"
_ONLY_FOR_CONTINUING = ("projection_head", "random_state")
# as nnU-Net's pretrainedTrainer.py prints them (main branch): a list of what was used and its papers
CITATIONS = [
    {
        "type": "Pretraining method",
        "name": "Pix2Rep",
        "apa_citations": [
            "Seince, M., Le Folgoc, L., Facury de Souza, L. A., & Angelini, E. (2024). Dense Self-Supervised Learning "
            "for Medical Image Segmentation. Medical Imaging with Deep Learning (MIDL). arXiv:2407.20395",
            "Pix2Rep-v2. arXiv:2609.01427",
        ],
    },
]


def export_checkpoint(source: Path, file_format: str, target: Path, overwrite: bool = False) -> dict[str, Any]:
    """Writes the weights of a checkpoint in another format; the file loads with ``weights_only=True``.

    Both formats keep the record of the pretraining under ``"pix2rep"``, for the leak guard (which images it has seen),
    without what only a continued training needs. ``nnunet`` keeps the plans too, with which others get plans that the
    weights fit: ``nnunet_pix2rep plan --weights``.

    Args:
        source: A checkpoint of a pretraining, or of any training of nnU-Net's.
        file_format: ``nnunet``: the whole network but its segmentation layers, for ``-pretrained_weights``; or
            ``nnssl``: encoder and stem with an ``nnssl_adaptation_plan``, 3D only.
        target: The new file; with a symbolic link the one that it leads to.
        overwrite: Whether an existing file may be replaced.

    Returns:
        What was written.

    Raises:
        UserError: the checkpoint is damaged, does not hold its plans or does not fit them; the format is unknown, or
            does not take this network; or the target exists.
    """
    if file_format not in FORMATS:
        raise UserError(f"There is no format {file_format!r}. Choose one of: {', '.join(FORMATS)}.")
    target = check_target(target, overwrite, EXAMPLE, source)
    checkpoint = load_checkpoint_file(source)
    planned = PlannedNetwork.of_checkpoint(checkpoint, source)
    network = _network_of(checkpoint, planned, source)
    record = {key: value for key, value in checkpoint.get(RECORD_KEY, {}).items() if key not in _ONLY_FOR_CONTINUING}
    content: dict[str, Any] = {"trainer_name": checkpoint.get("trainer_name"), RECORD_KEY: record}
    if file_format == "nnssl":
        content |= {
            "network_weights": encoder_weights(network),
            PLAN_KEY: adaptation_plan(planned, network),
            "citations": CITATIONS if record else [],
        }
    else:
        content["network_weights"] = transferable_weights(network)
        content["init_args"] = {name: checkpoint["init_args"][name] for name in INIT_ARGS}
    save_checkpoint_file(content, target)
    return content


def transferable_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """All that ``-pretrained_weights`` takes over: every weight but those of the segmentation layers."""
    return {key: value for key, value in network.state_dict().items() if SEGMENTATION_KEY_PART not in key}


def encoder_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """The weights below the network's ``key_to_encoder`` and ``key_to_stem``."""
    parts = (f"{network.key_to_encoder}.", f"{network.key_to_stem}.")
    return {key: value for key, value in network.state_dict().items() if key.startswith(parts)}


def _network_of(checkpoint: dict[str, Any], planned: PlannedNetwork, source: Path) -> nn.Module:
    """The planned network with the checkpoint's weights. In it, each weight that has several names is one tensor."""
    network = planned.build()
    transfer_weights(checkpoint, network, source, log=lambda _line: None)
    return network
