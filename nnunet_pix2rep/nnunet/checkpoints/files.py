"""Checkpoints: written whole or not at all, read with clear errors, and handed over to nnU-Net.

The hand-over is nnU-Net's own ``-pretrained_weights`` (nnunetv2 2.8.1, run/load_pretrained_weights.py): a dict whose
``network_weights`` has every key of the planned network outside ``.seg_layers.`` with equal shapes.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path

FORMAT_VERSION = 1
RECORD_KEY = "pix2rep"
LATEST, PREVIOUS, FINAL = "checkpoint_latest.pth", "checkpoint_previous.pth", "checkpoint_final.pth"
SEGMENTATION_KEY_PART = ".seg_layers."  # skip_strings_in_pretrained in load_pretrained_weights.py
RECORDED_PACKAGES = ("nnunet_pix2rep", "nnunetv2", "torch", "batchgeneratorsv2", "dynamic_network_architectures")


def to_plain(content: Any, copies: dict[tuple, torch.Tensor] | None = None) -> Any:
    """A copy with CPU tensors and plain Python numbers, which ``torch.load(weights_only=True)`` accepts.

    Sets become sorted lists; devices and paths become text.

    Args:
        content: What a checkpoint may hold.
        copies: Tensors copied so far. nnU-Net's networks name each weight several times (``encoder.*`` is
            ``decoder.encoder.*`` too); copied from a GPU once for each name, they would fill the file several times.
    """
    copies = {} if copies is None else copies
    if isinstance(content, torch.Tensor):
        place = (content.device, content.data_ptr(), content.dtype, content.shape, content.stride())
        if place not in copies:
            copies[place] = content.detach().cpu()
        return copies[place]
    if isinstance(content, Mapping):
        return {key: to_plain(value, copies) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return type(content)(to_plain(value, copies) for value in content)
    if isinstance(content, (set, frozenset)):
        return sorted(to_plain(value, copies) for value in content)
    if isinstance(content, (np.generic, np.ndarray)):
        return content.tolist()
    if isinstance(content, (torch.device, Path)):
        return str(content)
    return content


def save_checkpoint_file(
    content: dict[str, Any], path: str | os.PathLike, before_replacing: Callable[[Path], None] | None = None
) -> None:
    """Writes a checkpoint of plain values (see :func:`to_plain`), atomically.

    Args:
        content: The checkpoint.
        path: Its final name.
        before_replacing: Called with ``path`` when the new file is complete and about to take its place.
    """
    with atomic_path(path) as temporary:
        torch.save(to_plain(content), temporary)
        if before_replacing is not None:
            before_replacing(Path(path))


def keep_previous(path: Path) -> None:
    """Keeps a second name, ``checkpoint_previous.pth``, of a checkpoint that is about to be replaced."""
    if not path.is_file():
        return
    with atomic_path(path.with_name(PREVIOUS)) as temporary:
        temporary.unlink()
        try:
            os.link(path, temporary)
        except OSError:  # a file system without hard links
            shutil.copyfile(path, temporary)


def write_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Writes a training's checkpoint; of ``checkpoint_latest.pth`` the one before is kept."""
    save_checkpoint_file(content, path, before_replacing=keep_previous if path.name == LATEST else None)


def remove_unfinished_checkpoints(folder: Path) -> None:
    """Removes what a killed process had not finished writing; see :func:`nnunet_pix2rep.files.atomic_path`."""
    for leftover in folder.glob(".checkpoint_*.pth"):
        leftover.unlink(missing_ok=True)


def load_checkpoint_file(path: str | os.PathLike, device: torch.device | str = "cpu") -> dict[str, Any]:
    """Reads a checkpoint of nnU-Net or of this package; runs no code that the file may hold.

    Raises:
        UserError: the file is missing, truncated, or no checkpoint with ``network_weights``.
    """
    if not Path(path).is_file():
        raise UserError(f"There is no checkpoint {path}.")
    try:
        # nnU-Net's own checkpoints log numpy numbers
        with torch.serialization.safe_globals(_numpy_types()):
            checkpoint = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # the unpickler fails on damaged bytes in any way
        raise UserError(
            f"{path} is damaged or not a checkpoint ({_reason(error)}). Copy it again, or train it again."
        ) from error
    if not isinstance(checkpoint, dict) or "network_weights" not in checkpoint:
        raise UserError(f'{path} is not a checkpoint of nnU-Net: it has no "network_weights".')
    return checkpoint


def load_latest(
    path: str | os.PathLike, device: torch.device | str, log: Callable[[str], None]
) -> tuple[dict[str, Any], str]:
    """Reads a checkpoint to go on from; a damaged ``checkpoint_latest.pth`` is replaced by the one before it.

    Returns:
        The checkpoint and the file that it comes from.

    Raises:
        UserError: see :func:`load_checkpoint_file`.
    """
    try:
        return load_checkpoint_file(path, device), str(path)
    except UserError as error:
        previous = Path(path).with_name(PREVIOUS)
        if Path(path).name != LATEST or not previous.is_file():
            raise
        log(f"WARNING: {error} Going on from {previous}, the checkpoint before it.")
        return load_checkpoint_file(previous, device), str(previous)


def _reason(error: Exception) -> str:
    """The one line of torch's long messages that says what is wrong."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return next((line.strip() for line in lines if "WeightsUnpickler error" in line), lines[0])


def _numpy_types() -> list[Any]:
    """What numpy's numbers are pickled with, under the module names before and since numpy 2."""
    scalar = np.float64(0).__reduce__()[0]
    renamed = [(scalar, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")]
    return [*renamed, np.dtype, *{type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "?")}]


@dataclass(frozen=True)
class WeightComparison:
    """Which weights of a checkpoint fit a network.

    Attributes:
        matching: Keys with equal shapes.
        missing: Keys of the network that the checkpoint does not have.
        unused: Keys of the checkpoint that the network does not have.
        mismatched: Key -> (shape in the checkpoint, shape in the network).
    """

    matching: tuple[str, ...]
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    mismatched: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]

    def require_match(self, source: str | os.PathLike) -> None:
        """Raises UserError unless every key matches; names the first that does not, with both shapes."""
        for key, (found, wanted) in self.mismatched.items():
            raise UserError(
                f"{source} is of another network: {key} has shape {found} in the checkpoint and {wanted} in the "
                "network that the plans ask for. Use a checkpoint of the same plans and configuration."
            )
        for keys, where, elsewhere in (
            (self.missing, "the plans ask for", "checkpoint"),
            (self.unused, "the checkpoint has", "network"),
        ):
            if keys:
                raise UserError(
                    f"{source} is of another network: {where} {keys[0]} (and {len(keys) - 1} more keys) that the "
                    f"{elsewhere} lacks. Use a checkpoint of the same plans and configuration."
                )


def compare_weights(weights: Mapping[str, torch.Tensor], network: nn.Module) -> WeightComparison:
    """Compares weights with what a network has, by key and shape."""
    own = network.state_dict()
    shared = [key for key in own if key in weights]
    mismatched = {
        key: (tuple(weights[key].shape), tuple(own[key].shape))
        for key in shared
        if weights[key].shape != own[key].shape
    }
    return WeightComparison(
        tuple(key for key in shared if key not in mismatched),
        tuple(key for key in own if key not in weights),
        tuple(key for key in weights if key not in own),
        mismatched,
    )


def package_versions() -> dict[str, str]:
    """Versions of the packages that a result depends on."""
    return {package: version(package) for package in RECORDED_PACKAGES}
