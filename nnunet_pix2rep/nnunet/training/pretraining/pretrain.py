"""What every self-supervised training of the planned network shares, on nnU-Net's training loop.

Planning, preprocessing, folds, output folders, log file, loop, AMP, torch.compile, DDP and ``--c`` are nnU-Net's.
Overridden are network, optimizer and schedule, loss and steps, data loading and log. Read against nnunetv2 2.8.1,
training/nnUNetTrainer/nnUNetTrainer.py.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from time import time
from typing import Any, ClassVar

import torch

from nnunet_pix2rep.diagnostics.monitoring import PretrainingWarning
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import LATEST, RECORD_KEY, compare_weights
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase
from nnunet_pix2rep.nnunet.loading.patch_loader import ViewPairLoader
from nnunet_pix2rep.nnunet.loading.training_images import available_images, preprocessed_labeled_cases
from nnunet_pix2rep.nnunet.networks.decoder_features import UNet, unwrap
from nnunet_pix2rep.nnunet.random_state import global_seed
from nnunet_pix2rep.nnunet.training.nnunet_private import (
    preprocessed_data_in,
    replace_local_logger,
    requested_pretrained_weights,
)
from nnunet_pix2rep.nnunet.training.out_of_memory import MemoryAdvisingTrainer
from nnunet_pix2rep.nnunet.training.pretraining.epoch_report import (
    mean_over_processes,
    print_epoch,
    print_next_command,
    write_summary,
)
from nnunet_pix2rep.nnunet.training.pretraining.loaders import (
    folder_with_images,
    images_of_fold,
    require_same_patients,
    start_loaders,
)
from nnunet_pix2rep.nnunet.training.pretraining.logger import PretrainingLogger
from nnunet_pix2rep.nnunet.training.pretraining.warm_start import WarmStart
from nnunet_pix2rep.pretraining import WarmupCosineSchedule, build_adamw


class PretrainTrainer(MemoryAdvisingTrainer):
    """Trains the planned network with a head on top, without labels.

    Subclasses say what the network is (``build_network_architecture``), what its loss is and what its batches are. The
    network is a module with the planned one in ``feature_network.planned`` and all other weights in ``head``.
    """

    diagnostics: ClassVar[tuple[str, ...]]
    """What :meth:`validation_step` returns beside the loss."""
    head_name: str  # the key of the head's weights in checkpoints
    parts_of_settings: ClassVar[tuple[str, ...]] = ()
    """Parts of ``pretraining`` that the training depends on, beside ``optimization`` and that of the loss."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        settings = self.config.pretraining
        self.set_length(settings)
        self.initial_lr = settings.optimization.initial_lr
        self.weight_decay = settings.optimization.weight_decay
        self.enable_deep_supervision = False
        replace_local_logger(self, PretrainingLogger(diagnostics=self.diagnostics))
        self.warm_start = WarmStart(self)
        self.cases_used: list[str] = []
        self.held_out_patients: list[str] = []
        self._iteration_in_epoch = 0

    @property
    def loss_name(self) -> str:
        """What the loss is called in checkpoints."""
        raise NotImplementedError(f"{type(self).__name__} must name its loss")

    def compute_loss(self, batch: dict) -> torch.Tensor:
        """The loss of a batch, to take the gradient of."""
        raise NotImplementedError(f"{type(self).__name__} must say what the loss of a batch is")

    def build_loading(self, augmentation: tuple) -> tuple[type[ViewPairLoader], Any]:
        """The class of the loaders, and what makes their patches ready for the network.

        ``augmentation`` is what ``nnUNetTrainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size`` returns.
        """
        raise NotImplementedError(f"{type(self).__name__} must say what its batches are")

    # ----------------------------------------------------------------------------------------------- network and loss

    def initialize(self) -> None:
        """nnU-Net's, with the configured seed; the file of ``-pretrained_weights`` is checked and loaded here.

        Raises:
            UserError: a numbered fold of a dataset that has no labeled case, or weights that do not fit.
        """
        if not preprocessed_labeled_cases(Path(self.preprocessed_dataset_folder)):
            self.check_fold()
            available_images(self)  # raises: there is none
        requested = requested_pretrained_weights()
        with global_seed(self.config.pretraining.seed), preprocessed_data_in(self, folder_with_images(self)):
            super().initialize()
        if requested is not None:
            self.warm_start.begin(requested)

    def on_train_start(self) -> None:
        """nnU-Net's, with the whole network in its place."""
        self.warm_start.end()
        super().on_train_start()

    @property
    def planned_network(self) -> UNet:
        """The network that nnU-Net planned, whose weights are handed over."""
        return unwrap(self.network).feature_network.planned

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Switches the planned network's decoder, as nnU-Net does; the features do not depend on it."""
        self.planned_network.decoder.deep_supervision = enabled

    def plot_network_architecture(self) -> None:
        """Does nothing: nnU-Net's plot needs an abandoned package and takes a plain network."""

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, WarmupCosineSchedule]:
        """AdamW over all trained weights, linear warm-up and cosine."""
        optimizer = build_adamw(self.network, self.initial_lr, self.weight_decay, self.device)
        return optimizer, WarmupCosineSchedule(
            optimizer, self.initial_lr, self.num_epochs, self.config.pretraining.optimization.warmup_fraction
        )

    def get_cases(self) -> tuple[list[ImageCase], list[ImageCase]]:
        """Images for training and for the SSL validation loss; see :func:`images_of_fold`."""
        return images_of_fold(self)

    def get_dataloaders(self) -> tuple[Any, Any]:
        """Loaders of patches."""
        augmentation = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        loader_class, view_maker = self.build_loading(augmentation)
        training, validation = self.get_cases()
        held_out = self.find_held_out_patients()
        if self.cases_used:
            require_same_patients(self, self.held_out_patients, held_out)
        self.held_out_patients = held_out
        self.cases_used = sorted({*self.cases_used, *[case.identifier for case in training]})
        return start_loaders(
            self, loader_class, view_maker, context_size=augmentation[2], training=training, validation=validation
        )

    # ----------------------------------------------------------------------------------------------------------- steps

    def on_train_epoch_start(self) -> None:
        """nnU-Net's, and counts the epoch's steps from 0."""
        super().on_train_epoch_start()
        self._iteration_in_epoch = 0

    def train_step(self, batch: dict) -> dict:
        """One step; the loss stays on the device, so that the step does not wait for it."""
        self._sigterm.raise_if_requested()
        self.lr_scheduler.step(
            self.current_epoch + (self._iteration_in_epoch + 1) / (self.num_iterations_per_epoch + 1)
        )
        self._iteration_in_epoch += 1
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            loss = self.compute_loss(batch)
        self.optimize(loss, self.config.pretraining.optimization.gradient_clipping)
        return {"loss": loss.detach(), "keys": batch["keys"]}

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Logs the mean loss; only here is it looked at, so that no step waits for the device."""
        losses = torch.stack([output["loss"] for output in train_outputs]).cpu()
        for step in (~losses.isfinite()).nonzero().flatten().tolist()[:1]:
            self.fail_on_loss(float(losses[step]), train_outputs[step]["keys"])
        self.logger.log("train_losses", mean_over_processes(train_outputs, "loss"), self.current_epoch)

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """Logs the mean loss and the diagnostics."""
        self.logger.log("val_losses", mean_over_processes(val_outputs, "loss"), self.current_epoch)
        for name in self.diagnostics:
            self.logger.log(name, mean_over_processes(val_outputs, name), self.current_epoch)

    # ------------------------------------------------------------------------------------------- log and checkpoints

    def on_epoch_end(self) -> None:
        """nnU-Net's, with SSL losses and diagnostics instead of the Dice."""
        self.logger.log("epoch_end_timestamps", time(), self.current_epoch)

        print_epoch(self, self.diagnostics, self.find_warnings())
        # the best value first, so that the latest checkpoint knows of it
        validation_loss = self.logger.get_value("val_losses", step=-1)
        if self._best_ema is None or validation_loss < self._best_ema:
            self._best_ema = validation_loss
            self.print_to_log_file(f"New best SSL validation loss: {self._best_ema:.4f}")
            self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_best.pth"))
        is_last = self.current_epoch == self.num_epochs - 1
        if (self.current_epoch + 1) % self.save_every == 0 and not is_last:
            self.save_checkpoint(str(Path(self.output_folder) / LATEST))
        if self.local_rank == 0:
            self.logger.plot_progress_png(self.output_folder)
            self.plot_features()
        self.current_epoch += 1

    def find_warnings(self) -> list[PretrainingWarning]:
        """Warnings so far, by what is logged; none are known for this kind of pretraining."""
        return []

    def plot_features(self) -> None:
        """Pictures of an epoch; none for this kind of pretraining."""

    def record(self) -> dict[str, Any]:
        """Adds what the hand-over needs: the loss, the cases that were seen, the diagnostics at the end, warnings."""
        logged = self.logger.get_checkpoint()
        return super().record() | {
            "stage": "pretraining",
            "loss": self.loss_name,
            "cases": self.cases_used,
            "held_out_patients": self.held_out_patients,
            "started_from": self.warm_start.origin,
            "warnings": [asdict(warning) for warning in self.find_warnings()],
            "diagnostics": {
                key: logged[key][-1] for key in ("train_losses", "val_losses", *self.diagnostics) if logged[key]
            },
        }

    def checkpoint_content(self, next_epoch: int) -> dict[str, Any]:
        """Adds the head, which is not handed over but goes on training with ``--c``."""
        content = super().checkpoint_content(next_epoch)
        content[RECORD_KEY][self.head_name] = unwrap(self.network).head.state_dict()
        return content

    def load_further_weights(self, checkpoint: dict[str, Any], source: str) -> None:
        """Loads the head.

        Raises:
            UserError: the checkpoint is no pretraining of this kind, or has another head.
        """
        record = checkpoint.get(RECORD_KEY, {})
        if self.head_name not in record:
            raise UserError(f"{source} is not a checkpoint of {type(self).__name__}, so it can't be continued.")
        head = unwrap(self.network).head
        compare_weights(record[self.head_name], head).require_match(source)
        head.load_state_dict(record[self.head_name])
        self.warm_start.resume(checkpoint)
        self.cases_used = checkpoint[RECORD_KEY]["cases"]
        self.held_out_patients = checkpoint[RECORD_KEY]["held_out_patients"]

    def uses_setting(self, name: str) -> bool:
        """Those of the pretraining, but for the parts of other kinds and losses."""
        stage, *parts, _ = name.split(".")
        own = {"optimization", *self.parts_of_settings, self.loss_name}
        return stage == "pretraining" and own.issuperset(parts)

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:  # noqa: ARG002
        """Writes a summary; there is no segmentation to validate."""
        if self.local_rank == 0:
            write_summary(self)
            print_next_command(self)
