"""The plans of a benchmark: the user's, with the lengths that were asked for and all settings written down."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from nnunet_pix2rep.benchmark.design.methods import Method
from nnunet_pix2rep.benchmark.design.settings import BenchmarkSettings
from nnunet_pix2rep.config import BLOCK_NAME, FinetuningConfig, Pix2RepConfig, PretrainingConfig
from nnunet_pix2rep.nnunet.plans.plans_file import add_settings, read_config, resolve_configuration

SAVES_PER_TRAINING = 10
LEAST_EPOCHS_OF_FINETUNING = 20
"""nnU-Net lowers the learning rate from epoch to epoch: over two epochs that of scratch would hardly fall. (This
package's trainers lower theirs from step to step.)"""


@dataclass(frozen=True)
class Length:
    """Length of a training in nnU-Net's terms."""

    num_epochs: int
    num_iterations_per_epoch: int

    @property
    def iterations(self) -> int:
        """All training steps."""
        return self.num_epochs * self.num_iterations_per_epoch

    @classmethod
    def of(cls, config: FinetuningConfig | PretrainingConfig) -> Length:
        """The configured length."""
        return cls(config.num_epochs, config.num_iterations_per_epoch)

    def with_iterations(self, iterations: int, least_epochs: int = 1) -> Length:
        """About as long epochs, or shorter ones where these are too few; rounded up to whole epochs.

        Of the shorter ones there are as many, up to twice the least, as make the training least longer than asked for.
        """
        num_epochs, least = math.ceil(iterations / self.num_iterations_per_epoch), min(least_epochs, iterations)
        if num_epochs < least:
            # what is missing to whole epochs; min takes the first, so fewer epochs where several add as little
            num_epochs = min(range(least, 2 * least), key=lambda number: -iterations % number)
        return Length(num_epochs, math.ceil(iterations / num_epochs))


@dataclass(frozen=True)
class Lengths:
    """How long the stages of a benchmark are."""

    pretraining: Length
    finetuning: Length

    def of_method(self, method: Method) -> Length:
        """The supervised stage of a method."""
        if not method.adds_pretraining_length:
            return self.finetuning
        return self.finetuning.with_iterations(
            self.finetuning.iterations + self.pretraining.iterations, LEAST_EPOCHS_OF_FINETUNING
        )


class BenchmarkPlans:
    """Derives the plans of a benchmark from the user's, which stay as they are.

    Args:
        plans: Content of the user's plans file.
        settings: The benchmark.
        source: That file, for error messages.
    """

    def __init__(self, plans: dict[str, Any], settings: BenchmarkSettings, source: str):
        self._plans = plans
        self._configuration = settings.configuration
        self._source = source
        self.config = read_config(resolve_configuration(plans, settings.configuration), source)
        pretraining, finetuning = Length.of(self.config.pretraining), Length.of(self.config.finetuning)
        if settings.pretraining_iterations is not None:
            pretraining = pretraining.with_iterations(settings.pretraining_iterations)
        if settings.iterations is not None:
            finetuning = finetuning.with_iterations(settings.iterations, LEAST_EPOCHS_OF_FINETUNING)
        self.lengths = Lengths(pretraining, finetuning)

    def name_for(self, method: Method) -> str:
        """Name of the plans of a method's supervised stage."""
        name = self._plans["plans_name"]
        return f"{name}_{method.folder_name}" if method.has_own_plans else name

    def for_method(self, method: Method) -> dict[str, Any]:
        """The plans of a method's supervised stage."""
        lengths = self._settings_of(self.lengths.pretraining, self.lengths.of_method(method))
        return self._derive(self.name_for(method), [*lengths, *method.settings])

    def name_for_pretraining(self, seed: int) -> str:
        """Name of the plans of a pretraining; ``seed`` is added to the configured one."""
        name = self._plans["plans_name"]
        return f"{name}_pretraining_seed_{seed}" if seed else name

    def for_pretraining(self, seed: int) -> dict[str, Any]:
        """The plans of a pretraining."""
        lengths = self._settings_of(self.lengths.pretraining, self.lengths.finetuning)
        seeds = [f"pretraining.seed={self.config.pretraining.seed + seed}"] if seed else []
        return self._derive(self.name_for_pretraining(seed), [*lengths, *seeds])

    def _settings_of(self, pretraining: Length, finetuning: Length) -> list[str]:
        settings = []
        for part, length in (("pretraining", pretraining), ("finetuning", finetuning)):
            config = getattr(self.config, part)
            if length != Length.of(config):
                # Saved often enough that an interruption of a short training does not cost all of it.
                save_every = min(config.save_every, max(1, length.num_epochs // SAVES_PER_TRAINING))
                # Shorter epochs are no reason for more validation.
                share = min(1.0, length.num_iterations_per_epoch / config.num_iterations_per_epoch)
                num_validation = max(1, round(share * config.num_val_iterations_per_epoch))
                settings += [
                    f"{part}.num_epochs={length.num_epochs}",
                    f"{part}.num_iterations_per_epoch={length.num_iterations_per_epoch}",
                    f"{part}.num_val_iterations_per_epoch={num_validation}",
                    f"{part}.save_every={save_every}",
                ]
        return settings

    def _derive(self, name: str, settings: Sequence[str]) -> dict[str, Any]:
        derived = add_settings(self._plans, self._configuration, settings, self._source) | {"plans_name": name}
        # With the defaults of today: those of a later version are not to train the rest of a benchmark.
        configuration = derived["configurations"][self._configuration]
        configuration[BLOCK_NAME] = Pix2RepConfig.from_block(configuration[BLOCK_NAME], self._source).to_block()
        return derived
