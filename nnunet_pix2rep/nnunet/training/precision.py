"""In which precision a training computes."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager

import torch
from nnunetv2.utilities.helpers import dummy_context
from torch import nn

CPU_BFLOAT16_VARIABLE = "nnUNet_pix2rep_cpu_bfloat16"


def has_cpu_bfloat16() -> bool:
    """Whether oneDNN, which does torch's convolutions on CPUs, supports bfloat16 on this processor."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()  # public in torch 2.14: a list of instructions only


def wants_cpu_bfloat16(device: torch.device) -> bool:
    """Whether the user asks for bfloat16 on this device, a CPU."""
    return device.type == "cpu" and os.environ.get(CPU_BFLOAT16_VARIABLE) == "1"


def warning_of_slow_bfloat16(device: torch.device) -> str | None:
    """What to tell a user who asks for bfloat16 of a processor without it; None: nothing."""
    if not wants_cpu_bfloat16(device) or has_cpu_bfloat16():
        return None
    return (
        f"WARNING: {CPU_BFLOAT16_VARIABLE}=1, but this processor has no instructions for bfloat16: convolutions may "
        "take many times as long as in float32. Unset the variable on this machine."
    )


def autocast(device: torch.device) -> AbstractContextManager:
    """AMP where nnU-Net uses it, on CUDA devices, and in bfloat16 on CPUs where the user asks for it.

    Processors with bfloat16 instructions (AMX, AVX-512 BF16) take about two thirds of the time; others take far longer
    (of which the log warns), so it is a matter of the machine and not of the plans.
    """
    if device.type == "cuda":
        return torch.autocast("cuda")
    if wants_cpu_bfloat16(device):
        return torch.autocast("cpu", torch.bfloat16)
    return dummy_context()


def clipped_step(
    loss: torch.Tensor,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler | None,
    largest_norm: float,
) -> None:
    """Gradients, clipped, and a step of the optimizer, as in ``nnUNetTrainer.train_step`` (nnunetv2 2.8.1)."""
    if scaler is None:
        loss.backward()
    else:
        scaler.scale(loss).backward()
        scaler.unscale_(optimizer)
    nn.utils.clip_grad_norm_(network.parameters(), largest_norm)
    if scaler is None:
        optimizer.step()
    else:
        scaler.step(optimizer)
        scaler.update()
