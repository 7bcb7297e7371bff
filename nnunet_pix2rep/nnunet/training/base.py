"""What all trainers of this package share, on nnU-Net's loop.

Settings from the plans, checked folds, a checked loss, checkpoints that are whole, an orderly end on SIGTERM. Read
against nnunetv2 2.8.1, training/nnUNetTrainer/nnUNetTrainer.py.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import (
    FORMAT_VERSION,
    PREVIOUS,
    RECORD_KEY,
    compare_weights,
    load_latest,
    package_versions,
    remove_unfinished_checkpoints,
    write_checkpoint,
)
from nnunet_pix2rep.nnunet.loading.fold_cases import check_fold, patients_of, warn_of_leaks
from nnunet_pix2rep.nnunet.loading.training_images import preprocessed_labeled_cases
from nnunet_pix2rep.nnunet.networks.decoder_features import UNet, unwrap
from nnunet_pix2rep.nnunet.plans.plans_file import read_config, resolve_configuration
from nnunet_pix2rep.nnunet.random_state import get_random_state, set_random_state
from nnunet_pix2rep.nnunet.training.changed_settings import check_changes
from nnunet_pix2rep.nnunet.training.citation import CITATION
from nnunet_pix2rep.nnunet.training.cpu_threads import honor_omp_num_threads
from nnunet_pix2rep.nnunet.training.nnunet_private import is_validating_only
from nnunet_pix2rep.nnunet.training.precision import autocast, clipped_step, warning_of_slow_bfloat16
from nnunet_pix2rep.nnunet.training.sigterm import EXIT_CODE, SigtermWatch, TrainingInterrupted, save_interrupted

NNUNET_GRADIENT_CLIPPING = 12


class Pix2RepTrainer(nnUNetTrainer):
    """Base of the trainers.

    A loss that is not finite stops the training before anything is saved. A checkpoint is written whole or not at all,
    the one before it is kept, and it holds the state of the random generators. SIGTERM saves and ends the process with
    exit code 143 between two steps (with several GPUs, where processes would have to agree on the step, it ends it at
    once as usual).
    """

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        honor_omp_num_threads(device)
        resolve_configuration(plans, configuration)  # refuses cascades
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.config = read_config(
            self.configuration_manager, f"plans {self.plans_manager.plans_name}, configuration {configuration}"
        )
        self.changed_settings: list[dict[str, Any]] = []
        self._has_checked_split = False
        self._sigterm = SigtermWatch()
        self._has_started = False
        self._random_state: Mapping[str, Any] | None = None
        self.print_to_log_file(CITATION, add_timestamp=False)
        warning = warning_of_slow_bfloat16(device)
        if warning is not None:
            self.print_to_log_file(warning)

    def set_length(self, settings: Any) -> None:
        """Takes epochs, iterations and the saving interval from a part of the configuration."""
        self.num_epochs = settings.num_epochs
        self.num_iterations_per_epoch = settings.num_iterations_per_epoch
        self.num_val_iterations_per_epoch = settings.num_val_iterations_per_epoch
        self.save_every = settings.save_every

    @property
    def planned_network(self) -> UNet:
        """The network that nnU-Net planned, without the wrappers of DDP and torch.compile."""
        return unwrap(self.network)

    # ------------------------------------------------------------------------------------------------------------ folds

    def check_fold(self) -> None:
        """Refuses folds that nnU-Net would make up or fail on.

        Raises:
            UserError: see :func:`nnunet_pix2rep.nnunet.loading.fold_cases.check_fold`.
        """
        cases = [case.identifier for case in preprocessed_labeled_cases(Path(self.preprocessed_dataset_folder))]
        check_fold(self.fold, Path(self.preprocessed_dataset_folder_base), cases)

    def do_split(self) -> tuple[list[str], list[str]]:
        """nnU-Net's split, refused where nnU-Net would make one up, with the patients in it checked."""
        folder = Path(self.preprocessed_dataset_folder_base)
        self.check_fold()
        training, validation = super().do_split()
        if self.fold != "all" and not self._has_checked_split:
            warn_of_leaks(training, validation, folder, self.print_to_log_file)
            self._has_checked_split = True
        return training, validation

    def find_held_out_patients(self) -> list[str]:
        """Patients of the fold's validation set, sorted; none in fold ``all``."""
        if self.fold == "all":
            return []
        return patients_of(self.do_split()[1], Path(self.preprocessed_dataset_folder_base))

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
                save_interrupted(self, self.checkpoint_content, self._has_started)
                sys.exit(EXIT_CODE)
        if self._sigterm.requested:
            self.print_to_log_file("SIGTERM: the training is complete, what follows it is not; go on with --c.")
            sys.exit(EXIT_CODE)

    def on_train_start(self) -> None:
        """nnU-Net's; a resumed training goes on with the random state that it was saved with."""
        super().on_train_start()
        if self.local_rank == 0:
            remove_unfinished_checkpoints(Path(self.output_folder))
        if self._random_state is not None:
            set_random_state(self._random_state)
            self._random_state = None
        self._has_started = True

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
            "The training stops; the last good checkpoint is kept. Look at these images, or lower the learning rate in "
            "the plans' pix2rep block; then go on with --c."
        )

    def optimize(self, loss: torch.Tensor, gradient_clipping: float = NNUNET_GRADIENT_CLIPPING) -> None:
        """Gradients, clipped, and a step of the optimizer."""
        clipped_step(
            loss, self.network, optimizer=self.optimizer, scaler=self.grad_scaler, largest_norm=gradient_clipping
        )

    def autocast(self) -> AbstractContextManager:
        """See :func:`nnunet_pix2rep.nnunet.training.precision.autocast`."""
        return autocast(self.device)

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
            "changed_settings": self.changed_settings,
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
            write_checkpoint(self.checkpoint_content(self.current_epoch + 1), Path(filename))

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """Resumes; a damaged ``checkpoint_latest.pth`` is replaced by the one before it.

        Raises:
            UserError: the file is damaged, of another network, or of other settings than a training can go on with.
        """
        if not self.was_initialized:
            self.initialize()
        if isinstance(filename_or_checkpoint, dict):
            checkpoint, source = filename_or_checkpoint, "the given checkpoint"
        else:
            checkpoint, source = load_latest(filename_or_checkpoint, self.device, self.print_to_log_file)
        record = checkpoint.get(RECORD_KEY, {})
        goes_on = not is_validating_only()  # --val needs no optimizer, so its settings may be any
        if goes_on:
            log = self.print_to_log_file
            self.changed_settings = check_changes(checkpoint, self.config, self.uses_setting, source, log)
        compare_weights(checkpoint["network_weights"], self.planned_network).require_match(source)
        self.planned_network.load_state_dict(checkpoint["network_weights"])
        self.load_further_weights(checkpoint, source)
        if goes_on:
            self.optimizer.load_state_dict(checkpoint["optimizer_state"])
            for group in self.optimizer.param_groups:
                group["weight_decay"] = self.weight_decay  # torch has brought back that of before
        if self.grad_scaler is not None and checkpoint["grad_scaler_state"] is not None:
            self.grad_scaler.load_state_dict(checkpoint["grad_scaler_state"])
        self.current_epoch = checkpoint["current_epoch"]
        self.logger.load_checkpoint(checkpoint["logging"])
        self._best_ema = checkpoint["_best_ema"]
        self.inference_allowed_mirroring_axes = checkpoint["inference_allowed_mirroring_axes"]
        self._random_state = record.get("random_state")

    def uses_setting(self, name: str) -> bool:  # noqa: ARG002
        """Whether this training depends on a setting, by its dotted name, so that ``--c`` compares it."""
        return True

    def load_further_weights(self, checkpoint: dict[str, Any], source: str) -> None:
        """Takes what a subclass has put into :meth:`checkpoint_content`; called before the optimizer is loaded."""
