"""The trainer of the self-supervised stage, on nnU-Net's training loop.

What is nnU-Net's stays nnU-Net's: planning, preprocessing, folds, output folders, log file, loop, AMP, torch.compile,
DDP, ``--c``. Overridden are network, loss and steps (see the base class), data loading and log. Read against nnunetv2
2.8.1, training/nnUNetTrainer/nnUNetTrainer.py.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from time import time
from typing import Any

import torch
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA

from nnunet_pix2rep.diagnostics.embeddings import MAX_ROWS
from nnunet_pix2rep.diagnostics.monitoring import PretrainingWarning, find_warnings
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.losses.barlow_twins import BarlowTwinsLoss
from nnunet_pix2rep.losses.info_nce import InfoNCELoss
from nnunet_pix2rep.nnunet.checkpoints.files import FINAL, LATEST, RECORD_KEY, compare_weights
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase
from nnunet_pix2rep.nnunet.loading.fold_cases import pretraining_cases
from nnunet_pix2rep.nnunet.loading.patch_loader import ViewPairLoader, start_workers
from nnunet_pix2rep.nnunet.loading.training_images import (
    available_images,
    describe_held_out,
    describe_images,
    draw_probabilities,
)
from nnunet_pix2rep.nnunet.loading.view_maker import build_view_maker, points_per_patch
from nnunet_pix2rep.nnunet.networks.decoder_features import unwrap
from nnunet_pix2rep.nnunet.training.pretraining.feature_snapshots import (
    central_patches,
    draw_epoch_picture,
    is_picture_due,
    picture_file,
)
from nnunet_pix2rep.nnunet.training.pretraining.pixel_embedding import PixelEmbeddingTrainer
from nnunet_pix2rep.nnunet.training.pretraining.warm_start import StartedPretrainTrainer
from nnunet_pix2rep.views import ViewMaker

SUMMARY_FILE = "pretraining_summary.json"
TRAINING, VALIDATION = 0, 1  # tell the seeds of the two loaders apart


class PretrainTrainer(StartedPretrainTrainer):
    """Self-supervised pretraining of the planned network: its images, its log and its checkpoints."""

    head_name: str
    """What the head is called in checkpoints."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.cases_used: list[str] = []
        self.held_out_patients: list[str] = []

    # ------------------------------------------------------------------------------------------------------------ data

    def get_cases(self) -> tuple[list[ImageCase], list[ImageCase]]:
        """Images for training and for the SSL validation loss.

        A numbered fold trains on every image of patients outside its validation set, annotated in the fold or not, and
        on those of the pool of unlabelled images; ``all`` trains and validates on everything.
        """
        images = available_images(self)
        if self.fold == "all":
            return list(images.values()), list(images.values())
        _, validation = self.do_split()
        training = pretraining_cases(images, validation, Path(self.preprocessed_dataset_folder_base))
        for remark in describe_held_out(images, training):
            self.print_to_log_file(remark)
        for name, cases in (("training", training), ("validation", validation)):
            if not cases:
                raise UserError(f"Fold {self.fold} leaves no {name} case for pretraining; use another fold, or all.")
        return [images[case] for case in training], [images[case] for case in validation]

    def get_dataloaders(self) -> tuple[Any, Any]:
        """Loaders of patches; each batch depends on the seed and its index alone."""
        settings = self.config.pretraining
        augmentation = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        loader_class, view_maker = self.build_loading(augmentation)
        training, validation = self.get_cases()
        self._note_cases([case.identifier for case in training])
        self.print_to_log_file(
            f"Pretraining on {len(training)} images, SSL validation on {len(validation)}; labels are not read. "
            f"{self.batch_size} patches per batch; {view_maker}."
        )
        self.print_to_log_file(f"Pretraining images: {describe_images(training, self)}")
        num_workers = get_allowed_n_proc_DA()

        def start(cases: Sequence[ImageCase], purpose: int, workers: int, **batches: Any) -> Any:
            seed = (settings.seed, self.local_rank, purpose)
            batches["probabilities"] = draw_probabilities(cases, Path(self.preprocessed_dataset_folder_base))
            loader = loader_class(
                cases, self.batch_size, augmentation[2], view_maker, self.label_manager, seed, workers, **batches
            )
            return start_workers(loader, pin_memory=self.device.type == "cuda")

        first_index = self.current_epoch * self.num_iterations_per_epoch
        return (
            start(training, TRAINING, num_workers, first_index=first_index),
            start(validation, VALIDATION, (num_workers + 1) // 2, period=self.num_val_iterations_per_epoch),
        )

    @abstractmethod
    def build_loading(self, augmentation: tuple) -> tuple[type[ViewPairLoader], Any]:
        """The class of the loaders, and what makes their patches ready for the network.

        Args:
            augmentation: What ``nnUNetTrainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size`` returns.
        """

    def _note_cases(self, cases: list[str]) -> None:
        """Notes whom this pretraining sees; a resumed one must hold out whom it has held out so far.

        Raises:
            UserError: the splits have changed since the pretraining began.
        """
        held_out = self.find_held_out_patients()
        if self.cases_used and held_out != self.held_out_patients:
            raise UserError(
                f"This pretraining in {self.output_folder} was begun holding out the patients "
                f"{', '.join(self.held_out_patients) or 'none'}, but fold {self.fold} now holds out "
                f"{', '.join(held_out) or 'none'}. Restore the earlier splits_final.json, or start anew without --c."
            )
        self.held_out_patients = held_out
        self.cases_used = sorted({*self.cases_used, *cases})

    # ------------------------------------------------------------------------------------------- log and checkpoints

    def on_epoch_end(self) -> None:
        """nnU-Net's, with SSL losses and diagnostics in the place of the Dice."""
        self.logger.log("epoch_end_timestamps", time(), self.current_epoch)

        def last(key: str) -> float:
            return self.logger.get_value(key, step=-1)

        self.print_to_log_file("train_loss", round(last("train_losses"), 4))
        self.print_to_log_file("val_loss", round(last("val_losses"), 4))
        self.print_to_log_file("diagnostics", {name: round(last(name), 4) for name in self.diagnostics})
        self._print_warnings()
        self.print_to_log_file(f"Epoch time: {last('epoch_end_timestamps') - last('epoch_start_timestamps'):.2f} s")

        # the best value first, so that the latest checkpoint knows of it
        if self._best_ema is None or last("val_losses") < self._best_ema:
            self._best_ema = last("val_losses")
            self.print_to_log_file(f"New best SSL validation loss: {self._best_ema:.4f}")
            self.save_checkpoint(str(Path(self.output_folder) / "checkpoint_best.pth"))
        is_last = self.current_epoch == self.num_epochs - 1
        if (self.current_epoch + 1) % self.save_every == 0 and not is_last:
            self.save_checkpoint(str(Path(self.output_folder) / LATEST))
        if self.local_rank == 0:
            self.logger.plot_progress_png(self.output_folder)
            self.draw_features()
        self.current_epoch += 1

    def find_warnings(self) -> list[PretrainingWarning]:
        """Warnings so far, by what is logged; none are known for this kind of pretraining."""
        return []

    def draw_features(self) -> None:
        """Pictures of an epoch; none for this kind of pretraining."""

    def _print_warnings(self) -> None:
        for warning in self.find_warnings():
            if warning.epoch == self.current_epoch:
                crossed = ", ".join(f"{name} {value:.4g}" for name, value in warning.crossed.items())
                self.print_to_log_file(f"WARNING ({warning.kind}: {crossed}): {warning.message}")
                self.logger.log_summary(f"warnings/{warning.kind}", warning.epoch)

    def record(self) -> dict[str, Any]:
        """Adds what the hand-over needs: the loss, the cases that were seen, the diagnostics at the end, warnings."""
        logged = self.logger.get_checkpoint()
        return super().record() | {
            "stage": "pretraining",
            "loss": self.loss_name,
            "cases": self.cases_used,
            "held_out_patients": self.held_out_patients,
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
            raise UserError(
                f"{source} is not a checkpoint of {type(self).__name__}'s pretraining, so it can't be continued."
            )
        head = unwrap(self.network).head
        compare_weights(record[self.head_name], head).require_match(source)
        head.load_state_dict(record[self.head_name])
        super().load_further_weights(checkpoint, source)
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
            f"-pretrained_weights {Path(self.output_folder) / FINAL}"
        )


class Pix2RepPretrainTrainer(PixelEmbeddingTrainer, PretrainTrainer):
    """Pretraining with paired pixels; subclasses name the loss as their ``loss_class``."""

    head_name = "projection_head"

    def build_loading(self, augmentation: tuple) -> tuple[type[ViewPairLoader], ViewMaker]:
        """Loaders of view pairs."""
        return ViewPairLoader, build_view_maker(self.config.pretraining, self.configuration_manager, augmentation)

    def find_warnings(self) -> list[PretrainingWarning]:
        """Warnings of collapse and of shortcuts so far, by what is logged."""
        settings = self.config.pretraining
        pairs_per_batch = self.batch_size * points_per_patch(settings, self.configuration_manager)
        return find_warnings(self.logger.get_checkpoint(), self.num_epochs, min(MAX_ROWS, pairs_per_batch), settings)

    def draw_features(self) -> None:
        """Every so many epochs and at the end, a picture of the features of the same validation patches."""
        done = self.current_epoch + 1
        if not is_picture_due(done, self.num_epochs, self.config.pretraining.picture_every):
            return
        names, patches = central_patches(self.get_cases()[1], self.configuration_manager.patch_size)
        title = f"Epoch {done}: {', '.join(names)}"
        draw_epoch_picture(self.embedder, patches, title, picture_file(self.output_folder, done))


class nnUNetTrainerPix2RepPretrain(Pix2RepPretrainTrainer):
    """Pixel InfoNCE: Pix2Rep, MIDL 2024, arXiv 2407.20395."""

    loss_class = InfoNCELoss


class nnUNetTrainerPix2RepV2Pretrain(Pix2RepPretrainTrainer):
    """Pixel Barlow Twins: Pix2Rep-v2, arXiv 2609.01427."""

    loss_class = BarlowTwinsLoss
