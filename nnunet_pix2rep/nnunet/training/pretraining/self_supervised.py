"""What every self-supervised stage shares: optimiser, schedule, steps and the log of an epoch.

Subclasses say what the network is, what its loss is and where its batches come from. Read against nnunetv2 2.8.1,
training/nnUNetTrainer/nnUNetTrainer.py.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import torch
from torch import distributed, nn

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.preprocessed_images import has_cases
from nnunet_pix2rep.nnunet.loading.training_images import available_images, preprocessed_labelled_cases
from nnunet_pix2rep.nnunet.networks.decoder_features import unwrap
from nnunet_pix2rep.nnunet.random_state import global_seed
from nnunet_pix2rep.nnunet.training.base import Pix2RepTrainer
from nnunet_pix2rep.nnunet.training.pretraining.logger import PretrainingLogger
from nnunet_pix2rep.nnunet.unlabeled.pool import pool_folder
from nnunet_pix2rep.pretraining import WarmupCosineSchedule


class SelfSupervisedTrainer(Pix2RepTrainer):
    """Trains the planned network with a head on top, without labels.

    The network, see ``build_network_architecture``, is a module with the planned one in ``feature_network.planned`` and
    all other weights in ``head``.
    """

    diagnostics: ClassVar[tuple[str, ...]]
    """What :meth:`validation_step` returns beside the loss."""
    loss_name: str

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
        self.initial_lr = settings.initial_lr
        self.weight_decay = settings.weight_decay
        self.enable_deep_supervision = False
        self.logger.local_logger = PretrainingLogger(diagnostics=self.diagnostics)
        self._iteration_in_epoch = 0

    @abstractmethod
    def compute_loss(self, batch: dict) -> torch.Tensor:
        """The loss of a batch, to take the gradient of."""

    @abstractmethod
    def validation_step(self, batch: dict) -> dict:
        """SSL loss and diagnostics on one batch of the validation cases."""

    # ----------------------------------------------------------------------------------------------- network and loss

    def initialize(self) -> None:
        """nnU-Net's, with the configured seed for the initial weights.

        Raises:
            UserError: a numbered fold of a dataset that has no labelled case, or no image at all.
        """
        if not preprocessed_labelled_cases(Path(self.preprocessed_dataset_folder)):
            self.check_fold()
            available_images(self)  # raises: there is none
        with global_seed(self.config.pretraining.seed), self._pool_for_want_of_labels():
            super().initialize()

    @contextmanager
    def _pool_for_want_of_labels(self) -> Iterator[None]:
        """Without labelled cases, leads nnU-Net to the pool: it infers from files how the data is stored.

        nnunetv2 2.8.1, ``nnUNetTrainer.initialize``: ``infer_dataset_class`` fails on a folder without files.
        """
        folder = self.preprocessed_dataset_folder
        pool = pool_folder(Path(self.preprocessed_dataset_folder_base), self.configuration_manager.data_identifier)
        if not has_cases(Path(folder)) and has_cases(pool):
            self.preprocessed_dataset_folder = str(pool)
        try:
            yield
        finally:
            self.preprocessed_dataset_folder = folder

    @property
    def planned_network(self) -> nn.Module:
        """The network that nnU-Net planned, whose weights are handed over."""
        return unwrap(self.network).feature_network.planned

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Switches the planned network's decoder, as nnU-Net does; the features do not depend on it."""
        self.planned_network.decoder.deep_supervision = enabled

    def plot_network_architecture(self) -> None:
        """Does nothing: nnU-Net's plot needs an abandoned package and takes a plain network."""

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, WarmupCosineSchedule]:
        """AdamW over all trained weights, linear warm-up and cosine."""
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        # Fused: one pass over all weights, and under AMP the decision to skip a step stays on the device.
        fused = self.device.type in ("cpu", "cuda")
        optimizer = torch.optim.AdamW(trained, lr=self.initial_lr, weight_decay=self.weight_decay, fused=fused)
        return optimizer, WarmupCosineSchedule(
            optimizer, self.initial_lr, self.num_epochs, self.config.pretraining.warmup_fraction
        )

    # ----------------------------------------------------------------------------------------------------------- steps

    def on_train_epoch_start(self) -> None:
        """nnU-Net's, and counts the epoch's steps anew."""
        super().on_train_epoch_start()
        self._iteration_in_epoch = 0

    def tensors_of(self, batch: dict, *names: str) -> list[torch.Tensor]:
        """Tensors of a batch on the device.

        Raises:
            UserError: a worker could not make the batch; see ``ViewPairLoader.generate_train_batch``.
        """
        if "error" in batch:
            raise UserError(batch["error"])
        return [batch[name].to(self.device, non_blocking=True) for name in names]

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
        self.optimise(loss, self.config.pretraining.gradient_clipping)
        return {"loss": loss.detach(), "keys": batch["keys"]}

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Logs the mean loss; only here is it looked at, so that no step waits for the device."""
        losses = torch.stack([output["loss"] for output in train_outputs]).cpu()
        for step in (~losses.isfinite()).nonzero().flatten().tolist()[:1]:
            self.fail_on_loss(float(losses[step]), train_outputs[step]["keys"])
        self.logger.log("train_losses", self._mean(train_outputs, "loss"), self.current_epoch)

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """Logs the mean loss and the diagnostics."""
        self.logger.log("val_losses", self._mean(val_outputs, "loss"), self.current_epoch)
        for name in self.diagnostics:
            self.logger.log(name, self._mean(val_outputs, name), self.current_epoch)

    def _mean(self, outputs: list[dict], key: str) -> float:
        mean = torch.stack([output[key] for output in outputs]).float().mean()
        if self.is_ddp:
            distributed.all_reduce(mean)
            mean /= distributed.get_world_size()
        return float(mean)
