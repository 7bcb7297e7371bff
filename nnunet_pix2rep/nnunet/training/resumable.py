"""Training that survives: on nnU-Net's loop, with checkpoints that are whole, and an orderly end on SIGTERM.

Read against nnunetv2 2.8.1, training/nnUNetTrainer/nnUNetTrainer.py.
"""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import (
    LATEST,
    PREVIOUS,
    RECORD_KEY,
    compare_weights,
    keep_previous,
    load_checkpoint_file,
    save_checkpoint_file,
)
from nnunet_pix2rep.nnunet.networks.decoder_features import unwrap
from nnunet_pix2rep.nnunet.random_state import get_random_state, set_random_state
from nnunet_pix2rep.nnunet.training.sigterm import EXIT_CODE, SigtermWatch, TrainingInterrupted


class ResumableTrainer(nnUNetTrainer):
    """Saves and resumes.

    A checkpoint is written whole or not at all, and the one before it is kept. It also holds the state of the random
    generators. SIGTERM saves and ends the process with exit code 143 between two steps (with several GPUs, where
    processes would have to agree on the step, it ends it at once as usual).
    """

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self._sigterm = SigtermWatch()
        self._has_started = False
        self._random_state: Mapping[str, Any] | None = None

    @property
    def planned_network(self) -> nn.Module:
        """The network that nnU-Net planned, without the wrappers of DDP and torch.compile."""
        return unwrap(self.network)

    @abstractmethod
    def record(self) -> dict[str, Any]:
        """What this training did, for its checkpoint."""

    # ------------------------------------------------------------------------------------------------------------- loop

    def run_training(self) -> None:
        """nnU-Net's loop; SIGTERM saves the state between two steps and ends the process."""
        if self.is_ddp:
            super().run_training()
            return
        with self._sigterm:
            try:
                super().run_training()
            except (TrainingInterrupted, RuntimeError):
                # the workers get SIGTERM too and may be gone first, which batchgenerators reports as a RuntimeError
                if not self._sigterm.requested:
                    raise
                self._save_interrupted()
                sys.exit(EXIT_CODE)
        if self._sigterm.requested:
            self.print_to_log_file("SIGTERM: the training is complete, what follows it is not; go on with --c.")
            sys.exit(EXIT_CODE)

    def on_train_start(self) -> None:
        """nnU-Net's; a resumed training goes on with the random state that it was saved with."""
        super().on_train_start()
        if self.local_rank == 0:
            self._remove_unfinished_files()
        if self._random_state is not None:
            set_random_state(self._random_state)
            self._random_state = None
        self._has_started = True

    def _remove_unfinished_files(self) -> None:
        """Removes what a killed process had not finished writing; see :func:`nnunet_pix2rep.files.atomic_path`."""
        for leftover in Path(self.output_folder).glob(".checkpoint_*.pth"):
            leftover.unlink(missing_ok=True)

    def on_train_end(self) -> None:
        """nnU-Net's, which removes the latest checkpoint; the one before it goes too."""
        super().on_train_end()
        if self.local_rank == 0:
            (Path(self.output_folder) / PREVIOUS).unlink(missing_ok=True)

    # ------------------------------------------------------------------------------------------------------ checkpoints

    def checkpoint_content(self, next_epoch: int) -> dict[str, Any]:
        """The keys of nnU-Net's checkpoint, this package's record, and the random state."""
        logged = self.logger.get_checkpoint()
        return {
            "network_weights": self.planned_network.state_dict(),
            "optimizer_state": self.optimizer.state_dict(),
            "grad_scaler_state": self.grad_scaler.state_dict() if self.grad_scaler is not None else None,
            "logging": {key: series[:next_epoch] for key, series in logged.items()},
            "_best_ema": self._best_ema,
            "current_epoch": next_epoch,
            "init_args": self.my_init_kwargs,
            "trainer_name": type(self).__name__,
            "inference_allowed_mirroring_axes": self.inference_allowed_mirroring_axes,
            RECORD_KEY: self.record() | {"random_state": get_random_state()},
        }

    def save_checkpoint(self, filename: str) -> None:
        """Writes a checkpoint atomically; of ``checkpoint_latest.pth`` the one before is kept."""
        if self.disable_checkpointing:
            self.print_to_log_file("No checkpoint written, checkpointing is disabled")
        elif self.local_rank == 0:
            self._write(self.checkpoint_content(self.current_epoch + 1), Path(filename))

    def _write(self, content: dict[str, Any], path: Path) -> None:
        save_checkpoint_file(content, path, before_replacing=keep_previous if path.name == LATEST else None)

    def _save_interrupted(self) -> None:
        """Saves between two steps of an epoch, which is then run again."""
        path = Path(self.output_folder) / LATEST
        if self.disable_checkpointing or not self._has_started:
            self.print_to_log_file("SIGTERM: stopping, nothing to save")
        elif not all(parameter.isfinite().all() for parameter in self.network.parameters()):
            self.print_to_log_file("SIGTERM: stopping; the weights are not finite, so the last checkpoint stays")
        else:
            self._write(self.checkpoint_content(self.current_epoch), path)
            self.print_to_log_file(f"SIGTERM: saved {path}; go on with --c. Epoch {self.current_epoch} is run again.")

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """Resumes; a damaged ``checkpoint_latest.pth`` gives way to the one before it.

        Raises:
            UserError: the file is damaged, or of another network.
        """
        if not self.was_initialized:
            self.initialize()
        checkpoint, source = self.read_checkpoint(filename_or_checkpoint)
        compare_weights(checkpoint["network_weights"], self.planned_network).require_match(source)
        self.planned_network.load_state_dict(checkpoint["network_weights"])
        self.load_further_weights(checkpoint, source)
        self.optimizer.load_state_dict(checkpoint["optimizer_state"])
        if self.grad_scaler is not None and checkpoint["grad_scaler_state"] is not None:
            self.grad_scaler.load_state_dict(checkpoint["grad_scaler_state"])
        self.current_epoch = checkpoint["current_epoch"]
        self.logger.load_checkpoint(checkpoint["logging"])
        self._best_ema = checkpoint["_best_ema"]
        self.inference_allowed_mirroring_axes = checkpoint["inference_allowed_mirroring_axes"]
        self._random_state = checkpoint.get(RECORD_KEY, {}).get("random_state")

    def load_further_weights(self, checkpoint: dict[str, Any], source: str) -> None:
        """Takes what a subclass has put into :meth:`checkpoint_content`; called before the optimiser is loaded."""

    def read_checkpoint(self, filename_or_checkpoint: dict | str) -> tuple[dict[str, Any], str]:
        """Returns a checkpoint and where it comes from, which may be the one before a damaged latest one.

        Raises:
            UserError: the file is missing or damaged.
        """
        if isinstance(filename_or_checkpoint, dict):
            return filename_or_checkpoint, "the given checkpoint"
        path = Path(filename_or_checkpoint)
        try:
            return load_checkpoint_file(path, self.device), str(path)
        except UserError as error:
            previous = path.with_name(PREVIOUS)
            if path.name != LATEST or not previous.is_file():
                raise
            self.print_to_log_file(f"WARNING: {error} Going on from {previous}, the checkpoint before it.")
            return load_checkpoint_file(previous, self.device), str(previous)
