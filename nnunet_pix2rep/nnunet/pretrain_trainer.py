"""The trainer of the self-supervised stage, on nnU-Net's training loop.

What is nnU-Net's stays nnU-Net's: planning, preprocessing, folds, output folders, log file, loop, AMP, torch.compile,
DDP, ``--c``. Overridden are network (the planned one plus a projection head), loss, data loading, steps and log. Read
against nnunetv2 2.8.1, training/nnUNetTrainer/nnUNetTrainer.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import time
from typing import Any

import numpy as np
import torch
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from nnunetv2.utilities.helpers import dummy_context
from nnunetv2.utilities.plans_handling.plans_handler import ConfigurationManager, PlansManager
from torch import distributed, nn

from nnunet_pix2rep.diagnostics import summarise
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.geometry.grids import TransformRanges
from nnunet_pix2rep.nnunet.base_trainer import Pix2RepTrainer
from nnunet_pix2rep.nnunet.checkpoint import RECORD_KEY, compare_weights
from nnunet_pix2rep.nnunet.folds import patients_of, pretraining_cases
from nnunet_pix2rep.nnunet.images import ImageCase, preprocessed_cases
from nnunet_pix2rep.nnunet.loader import ViewPairLoader, global_seed, start_workers
from nnunet_pix2rep.nnunet.logger import DIAGNOSTICS, PretrainingLogger
from nnunet_pix2rep.nnunet.network import build_pixel_embedder, unwrap
from nnunet_pix2rep.nnunet.plans import read_config
from nnunet_pix2rep.pretraining import PixelEmbedder, WarmupCosineSchedule, build_loss
from nnunet_pix2rep.views import ViewMaker

SUMMARY_FILE = "pretraining_summary.json"
TRAINING, VALIDATION = 0, 1  # tell the seeds of the two loaders apart


class Pix2RepPretrainTrainer(Pix2RepTrainer):
    """Self-supervised pretraining of the planned network; subclasses name the loss."""

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
        self.cases_used: list[str] = []
        self.held_out_patients: list[str] = []
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

    # ------------------------------------------------------------------------------------------------------------ data

    def get_cases(self) -> tuple[list[ImageCase], list[ImageCase]]:
        """Images for training and for the SSL validation loss.

        A numbered fold trains on every image of patients outside its validation set, annotated in the fold or not;
        ``all`` trains and validates on everything.
        """
        images = {case.identifier: case for case in preprocessed_cases(self.preprocessed_dataset_folder)}
        if self.fold == "all":
            return list(images.values()), list(images.values())
        _, validation = self.do_split()
        training = pretraining_cases(images, validation, Path(self.preprocessed_dataset_folder_base))
        for name, cases in (("training", training), ("validation", validation)):
            if not cases:
                raise UserError(f"Fold {self.fold} leaves no {name} case for pretraining; use another fold, or all.")
        return [images[case] for case in training], [images[case] for case in validation]

    def find_held_out_patients(self) -> list[str]:
        """Patients of the fold's validation set, sorted; none in fold ``all``."""
        if self.fold == "all":
            return []
        return patients_of(self.do_split()[1], Path(self.preprocessed_dataset_folder_base))

    def get_dataloaders(self) -> tuple[Any, Any]:
        """Loaders of view pairs; each batch depends on the seed and its index alone."""
        rotation, in_plane_only, context_size, mirror_axes = (
            self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        )
        settings = self.config.pretraining
        ranges = TransformRanges(
            rotation=tuple(np.deg2rad(settings.rotation_degrees))
            if settings.rotation_degrees is not None
            else rotation,
            mirror_axes=mirror_axes if settings.mirror_axes is None else settings.mirror_axes,
            zoom=settings.zoom,
            translation=settings.translation,
            elastic_probability=settings.elastic_probability,
            elastic_amplitudes=(settings.elastic_coarse_amplitude, settings.elastic_fine_amplitude),
            in_plane_only=in_plane_only,
        )
        num_points = max(2, settings.num_points // self.configuration_manager.batch_size)
        view_maker = ViewMaker(self.configuration_manager.patch_size, ranges, settings, num_points)
        training, validation = self.get_cases()
        self.cases_used = [case.identifier for case in training]
        self.held_out_patients = self.find_held_out_patients()
        self.print_to_log_file(
            f"Pretraining on {len(training)} images, SSL validation on {len(validation)}; labels are not read. "
            f"{num_points} pixel pairs per patch, {self.batch_size} patches per batch."
        )
        num_workers = get_allowed_n_proc_DA()

        def start(cases: Sequence[ImageCase], purpose: int, workers: int, first_index: int, period: int | None) -> Any:
            loader = ViewPairLoader(
                cases,
                self.batch_size,
                context_size,
                view_maker,
                self.label_manager,
                seed=(settings.seed, self.local_rank, purpose),
                num_workers=workers,
                first_index=first_index,
                period=period,
            )
            return start_workers(loader, pin_memory=self.device.type == "cuda")

        first_index = self.current_epoch * self.num_iterations_per_epoch
        return (
            start(training, TRAINING, num_workers, first_index, None),
            start(
                validation, VALIDATION, min(num_workers, max(1, num_workers // 2)), 0, self.num_val_iterations_per_epoch
            ),
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

    def _autocast(self) -> Any:
        """AMP where nnU-Net uses it: on CUDA devices."""
        return torch.autocast("cuda") if self.device.type == "cuda" else dummy_context()

    def train_step(self, batch: dict) -> dict:
        """One step; the loss stays on the device, so that the step does not wait for it."""
        self._sigterm.raise_if_requested()
        self.lr_scheduler.step(
            self.current_epoch + (self._iteration_in_epoch + 1) / (self.num_iterations_per_epoch + 1)
        )
        self._iteration_in_epoch += 1
        self.optimizer.zero_grad(set_to_none=True)
        with self._autocast():
            loss = self.loss(*self._embed(batch))
        if self.grad_scaler is not None:
            self.grad_scaler.scale(loss).backward()
            self.grad_scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.pretraining.gradient_clipping)
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()
        else:
            loss.backward()
            nn.utils.clip_grad_norm_(self.network.parameters(), self.config.pretraining.gradient_clipping)
            self.optimizer.step()
        return {"loss": loss.detach(), "keys": batch["keys"]}

    def validation_step(self, batch: dict) -> dict:
        """SSL loss and diagnostics on one batch of the validation cases."""
        with self._autocast():
            z_1, z_2 = self._embed(batch)
            loss = self.loss(z_1, z_2)
        return {"loss": loss, **summarise(z_1, z_2)}

    def on_train_epoch_end(self, train_outputs: list[dict]) -> None:
        """Logs the mean loss; only here is it looked at, so that no step waits for the device."""
        losses = torch.stack([output["loss"] for output in train_outputs]).cpu()
        for step in (~losses.isfinite()).nonzero().flatten().tolist()[:1]:
            self.fail_on_loss(float(losses[step]), train_outputs[step]["keys"])
        self.logger.log("train_losses", self._mean(train_outputs, "loss"), self.current_epoch)

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """Logs the mean loss and the diagnostics."""
        self.logger.log("val_losses", self._mean(val_outputs, "loss"), self.current_epoch)
        for name in DIAGNOSTICS:
            self.logger.log(name, self._mean(val_outputs, name), self.current_epoch)

    def _mean(self, outputs: list[dict], key: str) -> float:
        mean = torch.stack([output[key] for output in outputs]).double().mean()
        if self.is_ddp:
            distributed.all_reduce(mean)
            mean /= distributed.get_world_size()
        return float(mean)

    # ------------------------------------------------------------------------------------------- log and checkpoints

    def on_epoch_end(self) -> None:
        """nnU-Net's, with SSL losses and diagnostics in the place of the Dice."""
        self.logger.log("epoch_end_timestamps", time(), self.current_epoch)

        def last(key: str) -> float:
            return self.logger.get_value(key, step=-1)

        self.print_to_log_file("train_loss", round(last("train_losses"), 4))
        self.print_to_log_file("val_loss", round(last("val_losses"), 4))
        self.print_to_log_file("diagnostics", {name: round(last(name), 4) for name in DIAGNOSTICS})
        self.print_to_log_file(f"Epoch time: {last('epoch_end_timestamps') - last('epoch_start_timestamps'):.2f} s")

        is_last = self.current_epoch == self.num_epochs - 1
        if (self.current_epoch + 1) % self.save_every == 0 and not is_last:
            self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_latest.pth"))
        if self._best_ema is None or last("val_losses") < self._best_ema:
            self._best_ema = last("val_losses")
            self.print_to_log_file(f"New best SSL validation loss: {self._best_ema:.4f}")
            self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_best.pth"))
        if self.local_rank == 0:
            self.logger.plot_progress_png(self.output_folder)
        self.current_epoch += 1

    def record(self) -> dict[str, Any]:
        """Adds what the hand-over needs: the loss, the cases that were seen, the diagnostics at the end."""
        logged = self.logger.get_checkpoint()
        return super().record() | {
            "stage": "pretraining",
            "loss": self.loss_name,
            "cases": self.cases_used,
            "held_out_patients": self.held_out_patients,
            "diagnostics": {
                key: logged[key][-1] for key in ("train_losses", "val_losses", *DIAGNOSTICS) if logged[key]
            },
        }

    def checkpoint_content(self, next_epoch: int) -> dict[str, Any]:
        """Adds the projection head, which is not handed over but goes on training with ``--c``."""
        content = super().checkpoint_content(next_epoch)
        content[RECORD_KEY]["projection_head"] = self.embedder.head.state_dict()
        return content

    def load_further_weights(self, checkpoint: dict[str, Any], source: str) -> None:
        """Loads the projection head.

        Raises:
            UserError: the checkpoint is no pretraining, or has another head.
        """
        if "projection_head" not in checkpoint.get(RECORD_KEY, {}):
            raise UserError(f"{source} is not a checkpoint of a Pix2Rep pretraining, so it can't be continued.")
        compare_weights(checkpoint[RECORD_KEY]["projection_head"], self.embedder.head).require_match(source)
        self.embedder.head.load_state_dict(checkpoint[RECORD_KEY]["projection_head"])
        self.cases_used = checkpoint[RECORD_KEY]["cases"]
        self.held_out_patients = checkpoint[RECORD_KEY]["held_out_patients"]

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:  # noqa: ARG002
        """Writes a summary; there is no segmentation to validate."""
        if self.local_rank != 0:
            return
        summary = self.record() | {"epochs": self.current_epoch, "logging": self.logger.get_checkpoint()}
        write_json(summary, Path(self.output_folder) / SUMMARY_FILE)
        self.print_to_log_file(
            f"Pretraining complete: {summary['diagnostics']}. Summary in {SUMMARY_FILE}. Fine-tune with nnUNetv2_train "
            f"{self.plans_manager.dataset_name} {self.configuration_name} {self.fold} -p "
            f"{self.plans_manager.plans_name} "
            f"-pretrained_weights {Path(self.output_folder) / 'checkpoint_final.pth'}"
        )


class nnUNetTrainerPix2RepPretrain(Pix2RepPretrainTrainer):
    """Pixel InfoNCE: Pix2Rep, MIDL 2024, arXiv 2407.20395."""

    loss_name = "info_nce"


class nnUNetTrainerPix2RepV2Pretrain(Pix2RepPretrainTrainer):
    """Pixel Barlow Twins: Pix2Rep-v2, arXiv 2609.01427."""

    loss_name = "barlow_twins"
