"""The network and the steps of the self-supervised stage.

The planned network gets a projection head; its loss compares paired pixels of two views. Read against nnunetv2 2.8.1,
training/nnUNetTrainer/nnUNetTrainer.py.
"""

from __future__ import annotations

import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import distributed, nn

from nnunet_pix2rep.diagnostics import summarise
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.base_trainer import Pix2RepTrainer
from nnunet_pix2rep.nnunet.loader import global_seed
from nnunet_pix2rep.nnunet.logger import DIAGNOSTICS, PretrainingLogger
from nnunet_pix2rep.nnunet.network import build_pixel_embedder, unwrap
from nnunet_pix2rep.nnunet.plans import read_config
from nnunet_pix2rep.pretraining import PixelEmbedder, WarmupCosineSchedule, build_loss
from nnunet_pix2rep.shortcuts import ProbeRows, probe_shortcuts


class PixelEmbeddingTrainer(Pix2RepTrainer):
    """Trains the planned network to embed pixels; subclasses name the loss and bring the data."""

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
        self.logger.local_logger = PretrainingLogger()
        self._iteration_in_epoch = 0

    # ----------------------------------------------------------------------------------------------- network and loss

    def initialize(self) -> None:
        """nnU-Net's, with the configured seed for the initial weights."""
        with global_seed(self.config.pretraining.seed):
            super().initialize()

    @staticmethod
    def build_network_architecture(
        plans_manager: PlansManager,
        configuration_manager: ConfigurationManager,
        num_input_channels: int,
        num_output_channels: int,
        enable_deep_supervision: bool = True,
    ) -> nn.Module:
        """The planned network with a projection head."""
        planned = nnUNetTrainer.build_network_architecture(
            plans_manager, configuration_manager, num_input_channels, num_output_channels, enable_deep_supervision
        )
        config = read_config(configuration_manager, f"plans {plans_manager.plans_name}")
        return build_pixel_embedder(planned, config.pretraining)

    @property
    def embedder(self) -> PixelEmbedder:
        """The network without the wrappers of DDP and torch.compile."""
        return unwrap(self.network)

    @property
    def planned_network(self) -> nn.Module:
        """The network that nnU-Net planned, whose weights are handed over."""
        return self.embedder.feature_network.planned

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Switches the planned network's decoder, as nnU-Net does; the features do not depend on it."""
        self.planned_network.decoder.deep_supervision = enabled

    def plot_network_architecture(self) -> None:
        """Does nothing: nnU-Net's plot needs an abandoned package and takes a plain network."""

    def _build_loss(self) -> nn.Module:
        return build_loss(self.loss_name, self.config.pretraining)

    def configure_optimizers(self) -> tuple[torch.optim.Optimizer, WarmupCosineSchedule]:
        """AdamW over all trained weights, linear warm-up and cosine."""
        trained = [parameter for parameter in self.network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(trained, lr=self.initial_lr, weight_decay=self.weight_decay)
        return optimizer, WarmupCosineSchedule(
            optimizer, self.initial_lr, self.num_epochs, self.config.pretraining.warmup_fraction
        )

    # ----------------------------------------------------------------------------------------------------------- steps

    def on_train_epoch_start(self) -> None:
        """nnU-Net's, and counts the epoch's steps anew."""
        super().on_train_epoch_start()
        self._iteration_in_epoch = 0

    def _embed(self, batch: dict) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings of the paired pixels of both views, each (N, d)."""
        if "error" in batch:
            raise UserError(batch["error"])
        images = batch["images"].to(self.device, non_blocking=True)
        points = batch["points"].to(self.device, non_blocking=True)
        return self.network(images, points).chunk(2)

    def train_step(self, batch: dict) -> dict:
        """One step; the loss stays on the device, so that the step does not wait for it."""
        self._sigterm.raise_if_requested()
        self.lr_scheduler.step(
            self.current_epoch + (self._iteration_in_epoch + 1) / (self.num_iterations_per_epoch + 1)
        )
        self._iteration_in_epoch += 1
        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            loss = self.loss(*self._embed(batch))
        self.optimise(loss, self.config.pretraining.gradient_clipping)
        return {"loss": loss.detach(), "keys": batch["keys"]}

    def validation_step(self, batch: dict) -> dict:
        """SSL loss and diagnostics on one batch of the validation cases."""
        with self.autocast():
            z_1, z_2 = self._embed(batch)
            loss = self.loss(z_1, z_2)
        if not loss.isfinite():
            self.fail_on_loss(float(loss), batch["keys"])
        views_2, points_2 = (batch[name].chunk(2)[1].to(self.device) for name in ("images", "points"))
        rows = ProbeRows.of_batch(z_1, views_2, points_2, batch["keys"])
        return {"loss": loss, "rows": rows, **summarise(z_1, z_2)}

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Logs the mean loss; only here is it looked at, so that no step waits for the device."""
        losses = torch.stack([output["loss"] for output in train_outputs]).cpu()
        for step in (~losses.isfinite()).nonzero().flatten().tolist()[:1]:
            self.fail_on_loss(float(losses[step]), train_outputs[step]["keys"])
        self.logger.log("train_losses", self._mean(train_outputs, "loss"), self.current_epoch)

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """Logs the mean loss and the diagnostics."""
        self.logger.log("val_losses", self._mean(val_outputs, "loss"), self.current_epoch)
        shortcuts = probe_shortcuts(ProbeRows.joined([output["rows"] for output in val_outputs]))
        measured = [{name: torch.tensor(value, device=self.device) for name, value in shortcuts.items()}]
        for name in DIAGNOSTICS:
            outputs = measured if name in shortcuts else val_outputs
            self.logger.log(name, self._mean(outputs, name), self.current_epoch)

    def _mean(self, outputs: list[dict], key: str) -> float:
        mean = torch.stack([output[key] for output in outputs]).float().mean()
        if self.is_ddp:
            distributed.all_reduce(mean)
            mean /= distributed.get_world_size()
        return float(mean)
