"""A training whose GPU runs out of memory says what to lower, and leaves its checkpoints as they are."""

from __future__ import annotations

from pathlib import Path

import torch

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import LATEST
from nnunet_pix2rep.nnunet.training.base import Pix2RepTrainer


class MemoryAdvisingTrainer(Pix2RepTrainer):
    """Base of the trainers of either stage; subclasses say in ``memory_use`` and ``memory_settings`` what they hold."""

    def run_training(self) -> None:
        """The training loop.

        Raises:
            UserError: the GPU ran out of memory.
        """
        try:
            super().run_training()
        except torch.OutOfMemoryError as error:
            raise UserError(self._out_of_memory_message(error)) from error

    def memory_use(self) -> str:
        """What a step holds in memory, in words."""
        patch_size = " x ".join(map(str, self.configuration_manager.patch_size))
        return f"batch_size {self.batch_size} and patches of {patch_size}"

    def memory_settings(self) -> str:
        """What to lower in the plans' configuration, in words."""
        return "batch_size or patch_size"

    def _out_of_memory_message(self, error: torch.OutOfMemoryError) -> str:
        latest = Path(self.output_folder) / LATEST
        going_on = (
            f"{latest} is kept: change the plans file that this training was started with, then go on with --c."
            if latest.is_file()
            else "There is no checkpoint yet, so start it again."
        )
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        return (
            f"The GPU ran out of memory in epoch {self.current_epoch}, with {self.memory_use()}. Lower "
            f"{self.memory_settings()} in the plans' configuration {self.configuration_name}, or end other processes "
            f"on this GPU. {going_on} (torch: {reason})"
        )
