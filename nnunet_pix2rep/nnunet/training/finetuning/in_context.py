"""Segmentation in context as a training of no steps: the benchmark can set it beside trainings by ``nnUNetv2_train``.

The fold's training cases are the support, its validation cases are segmented, as ``nnunet_pix2rep segment_in_context``
does by default. Nothing is trained, so there is nothing that ``nnUNetv2_predict`` could use: the checkpoint has no
segmentation layers, on which that command stops with an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from nnunetv2.configuration import default_num_processes
from nnunetv2.evaluation import evaluate_predictions

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import SEGMENTATION_KEY_PART, load_checkpoint_file
from nnunet_pix2rep.nnunet.features.extraction import FeatureExtractor
from nnunet_pix2rep.nnunet.features.model import FeatureModel, load_feature_model
from nnunet_pix2rep.nnunet.features.prepared_images import PreparedImage, usable_labels
from nnunet_pix2rep.nnunet.in_context.classifier import InContextSettings, build_classifier, class_shares, export
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer


class Pix2RepInContextTrainer(Pix2RepFinetuneTrainer):
    """Segments the validation cases from the training cases, without training; see the module."""

    in_context = InContextSettings()

    def get_dataloaders(self) -> tuple[None, None]:
        """None: nothing is trained."""
        return None, None

    def on_train_start(self) -> None:
        """Finds and checks the weights as fine-tuning does; then there is nothing to do.

        Raises:
            UserError: several processes, or the pretraining has seen this fold's validation patients.
        """
        if self.is_ddp:
            raise UserError(f"{type(self).__name__} trains nothing and runs in one process: leave -num_gpus out.")
        super().on_train_start()
        self.num_epochs = 0

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """Segments the fold's validation cases and evaluates them as nnU-Net does.

        Read against nnunetv2 2.8.1, training/nnUNetTrainer/nnUNetTrainer.py.
        """
        training, validation = self.do_split()
        model = self._feature_model()
        extractor = FeatureExtractor(model, self.in_context.mirroring, self.in_context.tile_step_size)
        classifier = build_classifier(
            model, extractor, self._images(training), num_images=len(training), settings=self.in_context
        )
        folder = Path(self.output_folder) / "validation"
        folder.mkdir(parents=True, exist_ok=True)
        for case, image in zip(validation, self._images(validation), strict=True):
            self.print_to_log_file(f"predicting {case}")
            export(
                model,
                class_shares(extractor, classifier, image.data),
                properties=image.properties,
                truncated=folder / case,
                refined=self.in_context.refine,
                save_probabilities=save_probabilities,
            )
        self._evaluate(folder)

    def _feature_model(self) -> FeatureModel:
        """The pretraining's network with its projection head, and the labels of this dataset."""
        if self.pretrained_record is None:
            raise UserError(
                f"{type(self).__name__} segments with pretrained weights: name them by -pretrained_weights."
            )
        model = load_feature_model(Path(self.pretrained_record["file"]), None, self.device)
        return replace(
            model,
            plans_manager=self.plans_manager,
            configuration=self.configuration_manager,
            dataset_json=self.dataset_json,
        )

    def _images(self, cases: Sequence[str]) -> Iterator[PreparedImage]:
        dataset = self.dataset_class(self.preprocessed_dataset_folder, list(cases))
        for case in cases:
            data, labels, _, properties = dataset.load_case(case)
            yield PreparedImage(data[:], usable_labels(labels[:][0], self.label_manager), properties)

    def _evaluate(self, folder: Path) -> None:
        labels = self.label_manager
        metrics = evaluate_predictions.compute_metrics_on_folder(
            str(Path(self.preprocessed_dataset_folder_base) / "gt_segmentations"),
            str(folder),
            str(folder / "summary.json"),
            self.plans_manager.image_reader_writer_class(),
            self.dataset_json["file_ending"],
            labels.foreground_regions if labels.has_regions else labels.foreground_labels,
            labels.ignore_label,
            chill=True,
            num_processes=default_num_processes,
        )
        self.print_to_log_file("Mean Validation Dice: ", metrics["foreground_mean"]["Dice"])

    # ----------------------------------------------------------------------------------------------------- checkpoints

    def record(self) -> dict[str, Any]:
        """Adds how pixels vote."""
        return super().record() | {"in_context": self.in_context.to_record()}

    def checkpoint_content(self, next_epoch: int) -> dict[str, Any]:
        """Leaves out the segmentation layers, which are random."""
        content = super().checkpoint_content(next_epoch)
        weights = {key: value for key, value in content["network_weights"].items() if SEGMENTATION_KEY_PART not in key}
        return content | {"network_weights": weights, "trainer_name": type(self).__name__}

    def load_checkpoint(self, filename_or_checkpoint: dict | str) -> None:
        """For ``--val``: what was saved, and any segmentation layers."""
        if not self.was_initialized:
            self.initialize()
        given = filename_or_checkpoint
        content = given if isinstance(given, dict) else load_checkpoint_file(Path(given))
        heads = {key: value for key, value in self.planned_network.state_dict().items() if SEGMENTATION_KEY_PART in key}
        super().load_checkpoint(content | {"network_weights": heads | content["network_weights"]})

    def uses_setting(self, name: str) -> bool:  # noqa: ARG002
        """None: nothing is trained."""
        return False
