"""The parts of the benchmark of speed, and the datasets that they are measured on."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.dataset_folders import preprocessed_folder
from nnunet_pix2rep.nnunet.environment import environment
from nnunet_pix2rep.speed.measurements.costs import NARROW_CHANNELS, MapShapes, measure_head_and_loss, measure_scaling
from nnunet_pix2rep.speed.measurements.loops import measure_fine_tuning, measure_loader
from nnunet_pix2rep.speed.measurements.pretraining import measure_pretraining
from nnunet_pix2rep.speed.measurements.step import measure_step_overhead
from nnunet_pix2rep.speed.settings import PRETRAININGS, SpeedSettings
from nnunet_pix2rep.speed.subjects.dataset import CONFIGURATIONS, make_synthetic_dataset, nnunet_folders
from nnunet_pix2rep.speed.subjects.default_plans import make_default_datasets
from nnunet_pix2rep.speed.subjects.trainers import PRETRAINERS, PlannedDataset, make_trainer, quiet
from nnunet_pix2rep.speed.timing.time_limit import TimeLimit
from nnunet_pix2rep.speed.timing.timer import make_timer

LARGEST_BATCH, LARGEST_PATCH = 8, 128  # of head_and_loss: the dense path of a whole batch of nnU-Net's fits nowhere
LARGEST_BATCH_3D, LARGEST_PATCH_3D = 2, 32


class Bench:
    """Measures the parts, on datasets that it makes or finds.

    Args:
        settings: What to measure.
        device: Where to compute.
        limit: Is asked before each pretraining.
        root: Folder for what is made.
        stack: Keeps nnU-Net's variables as long as they are needed.

    Raises:
        UserError: the dataset, its plans or its configuration are missing.
    """

    def __init__(
        self, settings: SpeedSettings, device: torch.device, limit: TimeLimit, root: Path, stack: ExitStack
    ) -> None:
        self.settings = settings
        self.device = device
        self.timer = make_timer(device, settings.clock)
        self.limit = limit
        self.root = root
        self.dataset = _prepare(settings, root, stack)

    def _config(self, dataset: PlannedDataset) -> Pix2RepConfig:
        block = dataset.plans({})["configurations"][dataset.configuration]["pix2rep"]
        return Pix2RepConfig.from_block(block, dataset.plans_name).with_settings(self.settings.settings)

    @cached_property
    def pretrained(self) -> dict[str, PlannedDataset]:
        """What pretrainings are measured on: the dataset, or without one nnU-Net's default plans."""
        if self.settings.dataset is not None:
            return {self.settings.configuration: self.dataset}
        with quiet():
            return make_default_datasets(self.root, self.settings.default_shape, self.settings.default_cases)

    def measure(self, part: str, keep_rows: Callable[[list[dict[str, Any]]], None] = lambda _rows: None) -> Any:
        """The results of a part; ``keep_rows`` gets those of the pretrainings so far after each one."""
        settings, device, timer, dataset = self.settings, self.device, self.timer, self.dataset
        if part in PRETRAININGS:
            return self._measure_pretrainings(part, keep_rows)
        whole_config = self._config(dataset)
        config, pretraining = whole_config.pretraining, asdict(whole_config.pretraining)
        if part == "step_overhead":
            return measure_step_overhead(
                dataset, settings.repetitions, device=device, settings=pretraining, timer=timer
            )
        if part == "loader":
            return measure_loader(
                dataset, settings.repetitions, settings.num_batches, device=device, settings=pretraining
            )
        if part == "fine_tuning":
            finetuning = asdict(whole_config.finetuning)
            return measure_fine_tuning(
                dataset, settings.repetitions, settings.num_batches, device=device, settings=finetuning
            )
        if part == "head_and_loss":
            shapes, batch_size = map_shapes(dataset, device, pretraining)
            return measure_head_and_loss(
                shapes, batch_size, config=config, repetitions=settings.repetitions, device=device, timer=timer
            )
        return measure_scaling(
            settings.max_points,
            settings.width,
            batch_size=LARGEST_BATCH,
            config=config,
            repetitions=settings.repetitions,
            device=device,
            timer=timer,
        )

    def _measure_pretrainings(
        self, part: str, keep_rows: Callable[[list[dict[str, Any]]], None]
    ) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for name, dataset in self.pretrained.items():
            if not self.limit.allows(part, f"{part}, {name}"):
                continue
            start = self.limit.clock()
            try:
                rows.append(self._measure_pretraining(name, dataset))
                keep_rows(rows)
            except torch.OutOfMemoryError:
                self.limit.left_out.append(f"{part}, {name} (the GPU's memory is too small for it)")
            self.limit.took(part, self.limit.clock() - start)
            torch.compiler.reset()  # the next network would be compiled for sizes of any kind
            gc.collect()
        return rows

    def _measure_pretraining(self, name: str, dataset: PlannedDataset) -> dict[str, Any]:
        return measure_pretraining(
            name,
            dataset,
            asdict(self._config(dataset).pretraining),
            repetitions=self.settings.repetitions,
            num_batches=self.settings.num_batches,
            timer=self.timer,
            device=self.device,
        )


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


def map_shapes(
    dataset: PlannedDataset, device: torch.device, settings: Mapping[str, Any]
) -> tuple[dict[str, MapShapes], int]:
    """Shapes of the feature maps to measure, and the batch size of ``head_and_loss``.

    Args:
        dataset: What to measure on.
        device: Where to compute.
        settings: Of the pretraining, over those of the plans; they say which feature maps are compared.

    Returns:
        One narrow map, and under the name of the choice the maps of the planned network; and the batch size.
    """
    trainer = make_trainer(PRETRAINERS["barlow_twins"], dataset, device, pretraining=settings)
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
    shapes: dict[str, MapShapes] = {
        f"one map of {NARROW_CHANNELS} channels": [(NARROW_CHANNELS, *patch)],
        trainer.config.pretraining.sampling.features: [tuple(feature_map.shape[1:]) for feature_map in maps],
    }
    return shapes, min(trainer.batch_size, LARGEST_BATCH if is_2d else LARGEST_BATCH_3D)
