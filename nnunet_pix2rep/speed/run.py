"""The benchmark of speed: ratios of this package to nnU-Net and to the paper's definition, on the user's machine."""

from __future__ import annotations

import platform
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.devices import choose_device
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import package_versions
from nnunet_pix2rep.nnunet.data.dataset_folders import preprocessed_folder
from nnunet_pix2rep.speed.costs import NARROW_CHANNELS, MapShapes, measure_head_and_loss, measure_scaling
from nnunet_pix2rep.speed.dataset import (
    CONFIGURATIONS,
    environment,
    make_synthetic_dataset,
    nnunet_folders,
)
from nnunet_pix2rep.speed.loops import measure_fine_tuning, measure_loader
from nnunet_pix2rep.speed.measure import CLOCKS
from nnunet_pix2rep.speed.step import measure_step_overhead
from nnunet_pix2rep.speed.trainers import PRETRAINERS, PlannedDataset, make_trainer, quiet

PARTS = ("step_overhead", "head_and_loss", "loader", "fine_tuning", "scaling")
FORMAT_VERSION = 1
LARGEST_BATCH, LARGEST_PATCH = 8, 128  # of head_and_loss: the dense path of a whole batch of nnU-Net's fits nowhere
LARGEST_BATCH_3D, LARGEST_PATCH_3D = 2, 32


@dataclass(frozen=True)
class SpeedSettings:
    """What to measure.

    Attributes:
        dataset: Number or name of a preprocessed dataset; None: a synthetic one in a temporary folder.
        configuration: Of the plans.
        plans_name: The plans; of no effect for the synthetic dataset.
        repetitions: Timed calls of each contestant.
        device: ``cpu``, ``cuda`` or ``mps``.
        parts: Some of ``PARTS``.
        num_batches: Batches that the loader's time is taken of, and training steps of an epoch.
        max_points: Largest number of sampled pixel pairs in ``scaling``.
        settings: Such as ``pretraining.sampling.num_points=1024``, over those of the plans.
        width: Of the synthetic images.
        clock: ``wall``, or ``processor``; loaders and epochs are always timed by the wall.
    """

    dataset: str | None = None
    configuration: str = CONFIGURATIONS[1]
    plans_name: str = "nnUNetPlans"
    repetitions: int = 5
    device: str = "cpu"
    parts: tuple[str, ...] = PARTS
    num_batches: int = 25
    max_points: int = 131072
    settings: tuple[str, ...] = ()
    width: int = 128
    clock: str = "wall"


def run_speed(settings: SpeedSettings, report: Callable[[str], None] = print) -> dict[str, Any]:
    """Measures the chosen parts.

    Args:
        settings: What to measure.
        report: Gets a line for every result as soon as it is known.

    Returns:
        The content of ``speed.json``.

    Raises:
        UserError: the dataset, its plans or its configuration are missing, or the device is.
    """
    device = choose_device(settings.device)
    results: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "machine": _machine(device),
        "settings": vars(settings),
    }
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pix2rep_speed_")))
        dataset = _prepare(settings, root, stack)
        for part in settings.parts:
            results[part] = _measure(part, dataset, settings, device)
            for line in summary_lines(part, results[part]):
                report(line)
    return results


def _prepare(settings: SpeedSettings, root: Path, stack: ExitStack) -> PlannedDataset:
    """The dataset; what trainers write goes to a temporary folder."""
    if settings.dataset is not None:
        folder = preprocessed_folder(settings.dataset)
        stack.enter_context(environment({"nnUNet_results": str(root)}))
        dataset = PlannedDataset(folder, settings.plans_name, settings.configuration)
    else:
        if settings.configuration not in CONFIGURATIONS:
            raise UserError(
                f"The synthetic dataset has the configurations {', '.join(CONFIGURATIONS)}, not "
                f"{settings.configuration}. Choose one of them with -c, or a dataset of your own with -d."
            )
        stack.enter_context(environment(nnunet_folders(root)))
        with quiet():
            dataset = make_synthetic_dataset(root, settings.configuration, settings.width)
    dataset.plans({})
    return dataset


def _measure(part: str, dataset: PlannedDataset, settings: SpeedSettings, device: torch.device) -> Any:
    block = dataset.plans({})["configurations"][dataset.configuration]["pix2rep"]
    config = Pix2RepConfig.from_block(block, dataset.plans_name).with_settings(settings.settings).pretraining
    clock = CLOCKS[settings.clock]
    if part == "step_overhead":
        return measure_step_overhead(dataset, settings.repetitions, device, asdict(config), clock)
    if part == "loader":
        return measure_loader(dataset, settings.repetitions, settings.num_batches, device)
    if part == "fine_tuning":
        return measure_fine_tuning(dataset, settings.repetitions, settings.num_batches, device)
    if part == "head_and_loss":
        shapes, batch_size = map_shapes(dataset, device)
        return measure_head_and_loss(shapes, batch_size, config, settings.repetitions, device, clock)
    return measure_scaling(
        settings.max_points, settings.width, LARGEST_BATCH, config, settings.repetitions, device, clock
    )


def map_shapes(dataset: PlannedDataset, device: torch.device) -> tuple[dict[str, MapShapes], int]:
    """Shapes of the planned network's feature maps, and of one narrow map; and the batch size of ``head_and_loss``."""
    trainer = make_trainer(PRETRAINERS["barlow_twins"], dataset, device)
    planned_patch = [int(width) for width in trainer.configuration_manager.patch_size]
    is_2d = len(planned_patch) == 2
    largest = LARGEST_PATCH if is_2d else LARGEST_PATCH_3D
    # The network halves its input a fixed number of times, so that only some smaller patches will do.
    smallest = [int(factor) for factor in torch.tensor(trainer.configuration_manager.pool_op_kernel_sizes).prod(dim=0)]
    patch = [
        width if width <= largest else max(step, largest // step * step)
        for width, step in zip(planned_patch, smallest, strict=True)
    ]
    with torch.no_grad():
        maps = trainer.embedder.feature_network(torch.zeros(1, trainer.num_input_channels, *patch, device=device))
    hypercolumn = [tuple(feature_map.shape[1:]) for feature_map in maps]
    shapes: dict[str, MapShapes] = {
        f"one map of {NARROW_CHANNELS} channels": [(NARROW_CHANNELS, *patch)],
        "hypercolumn": hypercolumn,
    }
    return shapes, min(trainer.batch_size, LARGEST_BATCH if is_2d else LARGEST_BATCH_3D)


def summary_lines(part: str, result: Any) -> list[str]:
    """The ratios of one part, a line each."""
    if part == "step_overhead":
        return [
            f"step_overhead  {item['loss']:<28} step / bare network          {item['ratio']:8.3f}" for item in result
        ]
    if part == "head_and_loss":
        return [
            f"head_and_loss  {item['features']}, {item['loss']}: dense / sampled time {item['speed_up']:.1f}, "
            f"sampled / dense memory {item['memory_ratio']:.3f}"
            for item in result
        ]
    if part == "loader":
        return [
            f"loader         {result['workers']} workers: views per second, ours / nnU-Net's {result['ratio']:8.3f}"
        ]
    if part == "fine_tuning":
        return [f"fine_tuning    epoch, ours / stock trainer's {result['ratio']:8.3f}"]
    return [
        f"scaling        {item['loss']}, against {item['against']}: time ^{item['time_exponent']:.2f}, "
        f"memory ^{item['memory_exponent']:.2f}"
        for item in result
    ]


def _machine(device: torch.device) -> dict[str, Any]:
    return {
        "platform": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "torch_threads": torch.get_num_threads(),
        "versions": package_versions(),
    }
