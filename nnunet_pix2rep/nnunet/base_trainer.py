"""What all trainers of this package share: settings from the plans, checked folds, and training that survives.

Read against nnunetv2 2.8.1, training/nnUNetTrainer/nnUNetTrainer.py.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoint import (
    FORMAT_VERSION,
    LATEST,
    PREVIOUS,
    RECORD_KEY,
    compare_weights,
    keep_previous,
    load_checkpoint_file,
    package_versions,
    save_checkpoint_file,
)
from nnunet_pix2rep.nnunet.folds import check_fold, warn_of_leaks
from nnunet_pix2rep.nnunet.images import preprocessed_cases
from nnunet_pix2rep.nnunet.interruption import EXIT_CODE, SigtermWatch, TrainingInterrupted
from nnunet_pix2rep.nnunet.network import unwrap
from nnunet_pix2rep.nnunet.plans import read_config

CITATION = (
    "\n#######################################################################\n"
    "Please cite the following papers when using Pix2Rep:\n"
    "Seince, M., Le Folgoc, L., Facury de Souza, L. A., & Angelini, E. (2024). Dense Self-Supervised Learning for "
    "Medical Image\n"
    "Segmentation. Medical Imaging with Deep Learning (MIDL). arXiv:2407.20395; and, for Pix2Rep-v2, "
    "arXiv:2609.01427.\n"
    "#######################################################################\n"
)


class Pix2RepTrainer(nnUNetTrainer):
    """Base of the trainers.

    A checkpoint is written whole or not at all, and the one before it is kept. SIGTERM saves and ends the process with
    exit code 143 between two steps (with several GPUs, where processes would have to agree on the step, it ends it at
    once as usual). A loss that is not finite stops the training before anything is saved.
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
        if self.is_cascaded:
            raise NotImplementedError(
                f"Pix2Rep does not train cascades: {configuration} takes the segmentation of "
                f"{self.configuration_manager.previous_stage_name} as input. Use 3d_fullres or 3d_lowres."
            )
        self.config = read_config(
            self.configuration_manager, f"plans {self.plans_manager.plans_name}, configuration {configuration}"
        )
        self._sigterm = SigtermWatch()
        self._random_state: Mapping[str, Any] | None = None
        self.print_to_log_file(CITATION, add_timestamp=False)

    def set_length(self, settings: Any) -> None:
        """Takes epochs, iterations and the saving interval from a part of the configuration."""
        self.num_epochs = settings.num_epochs
        self.num_iterations_per_epoch = settings.num_iterations_per_epoch
        self.num_val_iterations_per_epoch = settings.num_val_iterations_per_epoch
        self.save_every = settings.save_every

    @property
    def planned_network(self) -> nn.Module:
        """The network that nnU-Net planned, without the wrappers of DDP and torch.compile."""
        return unwrap(self.network)

    # ------------------------------------------------------------------------------------------------------------ folds

    def do_split(self) -> tuple[list[str], list[str]]:
        """nnU-Net's split, refused where nnU-Net would make one up, with the patients in it checked."""
        folder = Path(self.preprocessed_dataset_folder_base)
        check_fold(
            self.fold, folder, [case.identifier for case in preprocessed_cases(self.preprocessed_dataset_folder)]
        )
        training, validation = super().do_split()
        if self.fold != "all":
            warn_of_leaks(training, validation, folder, self.print_to_log_file)
        return training, validation

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

    def on_train_start(self) -> None:
        """nnU-Net's; a resumed training goes on with the random state that it was saved with."""
        super().on_train_start()
        if self._random_state is not None:
            set_random_state(self._random_state)
            self._random_state = None

    def on_train_end(self) -> None:
        """nnU-Net's, which removes the latest checkpoint; the one before it goes too."""
        super().on_train_end()
        if self.local_rank == 0:
            (Path(self.output_folder) / PREVIOUS).unlink(missing_ok=True)

    def train_step(self, batch: dict) -> dict:
        """nnU-Net's step, between SIGTERM and a check of the loss."""
        self._sigterm.raise_if_requested()
        output = super().train_step(batch)
        if not np.isfinite(output["loss"]):
            self.fail_on_loss(float(output["loss"]), batch["keys"])
        return output

    def fail_on_loss(self, loss: float, keys: Any) -> None:
        """Raises the error of a loss that is not finite, naming the cases of the batch."""
        raise UserError(
            f"The loss of epoch {self.current_epoch} is {loss} for a batch of the cases {', '.join(map(str, keys))}. "
            "The training stops; "
            "the last good checkpoint is kept. Look at these images, or lower the learning rate in the plans' pix2rep "
            "block; then go on "
            "with --c."
        )

    # ------------------------------------------------------------------------------------------------------ checkpoints

    def record(self) -> dict[str, Any]:
        """What this training did, for its checkpoint."""
        return {
            "format_version": FORMAT_VERSION,
            "trainer": type(self).__name__,
            "dataset_name": self.plans_manager.dataset_name,
            "plans_name": self.plans_manager.plans_name,
            "configuration": self.configuration_name,
            "fold": self.fold,
            "config": self.config.to_block(),
            "package_versions": package_versions(),
        }

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
        if self.disable_checkpointing or not self.was_initialized:
            self.print_to_log_file("SIGTERM: stopping, nothing to save")
            return
        self._write(self.checkpoint_content(self.current_epoch), path)
        self.print_to_log_file(f"SIGTERM: saved {path}; go on with --c. Epoch {self.current_epoch} will be run again.")

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """Resumes; a damaged ``checkpoint_latest.pth`` gives way to the one before it.

        Raises:
            UserError: the file is damaged, or of another network.
        """
        if not self.was_initialized:
            self.initialize()
        checkpoint, source = self._read(filename_or_checkpoint)
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
        """Takes what a subclass has put into :meth:`checkpoint_content` besides; called before the optimiser is loaded."""

    def _read(self, filename_or_checkpoint: dict | str) -> tuple[dict[str, Any], str]:
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


def get_random_state() -> dict[str, Any]:
    """The state of this process's generators, as plain values and tensors."""
    name, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": random.getstate(),
        "numpy": (name, keys.tolist(), position, has_gauss, cached),
        "torch": torch.random.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Puts back what :func:`get_random_state` returned."""
    random.setstate(state["python"])
    name, keys, *rest = state["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), *rest))
    torch.random.set_rng_state(state["torch"].cpu())
    if len(state["cuda"]) == (torch.cuda.device_count() if torch.cuda.is_available() else 0):
        torch.cuda.set_rng_state_all([device_state.cpu() for device_state in state["cuda"]])
