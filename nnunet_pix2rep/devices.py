"""The devices that nnU-Net knows, and the choice of one.

The command line reads the names for its help, so torch is imported only where a device is chosen.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nnunet_pix2rep.errors import UserError

if TYPE_CHECKING:
    import torch

DEVICES = ("cpu", "cuda", "mps")


def usable_devices() -> tuple[str, ...]:
    """Those of ``DEVICES`` that torch finds on this machine."""
    import torch

    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return tuple(name for name in DEVICES if there[name])


def choose_device(name: str | None) -> torch.device:
    """The device of a name as in nnU-Net; None: CUDA where it is available, else the CPU.

    Raises:
        UserError: there is no such device, or none on this machine.
    """
    import torch

    usable = usable_devices()
    if name is None:
        name = "cuda" if "cuda" in usable else "cpu"
    check_device_name(name)
    if name not in usable:
        hint = " Look at CUDA_VISIBLE_DEVICES, or use another." if name == "cuda" else ""
        raise UserError(f"The device {name} is not available on this machine. Usable: {', '.join(usable)}.{hint}")
    return torch.device(name)


def check_device_name(name: str) -> None:
    """Raises a UserError unless nnU-Net knows a device of this name."""
    if name not in DEVICES:
        raise UserError(f"The device must be one of {', '.join(DEVICES)}, but is {name!r}.")
