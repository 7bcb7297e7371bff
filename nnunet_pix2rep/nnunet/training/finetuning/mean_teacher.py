"""Semi-supervised fine-tuning with a Mean Teacher (Tarvainen and Valpola, NeurIPS 2017, arXiv 1703.01780).

The student is trained with nnU-Net's loss on the fold's annotated cases and with a consistency loss on images that are
not annotated, or not completely: the mean squared difference between its class probabilities and those of the teacher,
which sees the same patch in another appearance (equation 1). The teacher is the moving average of the student (equation
2) and makes the predictions.
"""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from nnunetv2.utilities.default_n_proc_DA import get_allowed_n_proc_DA
from torch import nn

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.geometry.grids import TransformRanges
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, compare_weights
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase
from nnunet_pix2rep.nnunet.loading.fold_cases import pretraining_cases
from nnunet_pix2rep.nnunet.loading.patch_loader import ViewPairLoader, start_workers, tensors_of
from nnunet_pix2rep.nnunet.loading.training_images import (
    available_images,
    describe_held_out,
    describe_images,
    draw_probabilities,
)
from nnunet_pix2rep.nnunet.networks.decoder_features import unwrap
from nnunet_pix2rep.nnunet.training.finetuning.finetune import TEACHER_SETTINGS, Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.nnunet_private import stop_workers
from nnunet_pix2rep.views import ViewMaker

UNLABELED = 2  # tells the seed of this loader from those of a pretraining


def ramp_up(progress: float) -> float:
    """exp(-5 (1 - progress)^2), the factor of the consistency weight; 1 from a progress of 1 on."""
    return math.exp(-5 * (1 - min(max(progress, 0.0), 1.0)) ** 2)


@torch.no_grad()
def update_teacher(teacher: nn.Module, student: nn.Module, decay: float, step: int) -> None:
    """teacher = a * teacher + (1 - a) * student with a = min(1 - 1 / (step + 1), decay), for steps counted from 1.

    The lower weight of the first steps makes the teacher a true average early on, as in the authors' code.
    """
    factor = min(1 - 1 / (step + 1), decay)
    # not by state_dict(), which names the tensors of nnU-Net's networks up to four times
    for average, current in zip(teacher.parameters(), student.parameters(), strict=True):
        average.lerp_(current, 1 - factor)
    for copy, original in zip(teacher.buffers(), student.buffers(), strict=True):
        copy.copy_(original)


def consistency(student_logits: torch.Tensor, teacher_logits: torch.Tensor, has_regions: bool) -> torch.Tensor:
    """Mean squared difference of class probabilities; logits (B, classes, *S), softmax or, for regions, sigmoid."""
    student, teacher = (
        logits.float().sigmoid() if has_regions else logits.float().softmax(dim=1)
        for logits in (student_logits, teacher_logits)
    )
    return (student - teacher).square().mean()


class Pix2RepMeanTeacherTrainer(Pix2RepFinetuneTrainer):
    """Fine-tuning with a Mean Teacher on the images that are not annotated in the fold; see the module."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.teacher: nn.Module | None = None
        self._student_state: dict[str, torch.Tensor] | None = None
        self._unlabeled: Any = None
        self._steps = 0

    # ------------------------------------------------------------------------------------------------------------ data

    def get_unlabeled_cases(self) -> list[ImageCase]:
        """Images that are neither annotated completely in this fold nor of a validation patient.

        With an ignore label the annotated images take part too: most of their slices may be without annotation.

        Raises:
            UserError: there is none.
        """
        annotated, validation = self.do_split()
        if self.fold == "all":
            validation = []  # nnU-Net validates on the training cases there
        images = available_images(self)
        allowed = pretraining_cases(images, validation, Path(self.preprocessed_dataset_folder_base))
        for remark in describe_held_out(images, allowed):
            self.print_to_log_file(remark)
        complete = set() if self.label_manager.has_ignore_label else set(annotated)
        unlabeled = [images[case] for case in allowed if case not in complete]
        if not unlabeled:
            raise UserError(
                f"Fold {self.fold} annotates all images outside its validation set, which leaves nothing for a Mean "
                "Teacher. Use nnUNetTrainerPix2RepFinetune, or a fold with fewer annotated cases."
            )
        return unlabeled

    def on_train_start(self) -> None:
        """Starts teacher and unlabeled images beside nnU-Net's."""
        super().on_train_start()
        if self.teacher is None:
            self._start_teacher()
        _, in_plane_only, context_size, _ = self.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
        # two appearances of the same patch: the student's view must show what the teacher's does
        view_maker = ViewMaker(
            self.configuration_manager.patch_size,
            TransformRanges(in_plane_only=in_plane_only),
            self.config.pretraining.views,
            num_points=1,  # of a pair of views only the images are used
        )
        cases = self.get_unlabeled_cases()
        self.cases_used = sorted({*self.cases_used, *[case.identifier for case in cases]})
        self.print_to_log_file(f"Images without annotation for the Mean Teacher: {describe_images(cases, self)}")
        loader = ViewPairLoader(
            cases,
            self.batch_size,
            context_size=context_size,
            view_maker=view_maker,
            label_manager=self.label_manager,
            seed=(self.config.pretraining.seed, self.local_rank, UNLABELED),
            num_workers=get_allowed_n_proc_DA(),
            first_index=self._steps,
            probabilities=draw_probabilities(cases, Path(self.preprocessed_dataset_folder_base)),
        )
        self._unlabeled = start_workers(loader, pin_memory=self.device.type == "cuda")

    def on_train_end(self) -> None:
        """Stops the workers of the unlabeled images too."""
        super().on_train_end()
        stop_workers(self._unlabeled)

    # ------------------------------------------------------------------------------------------------------------ steps

    def _start_teacher(self) -> None:
        self.teacher = deepcopy(self.planned_network).requires_grad_(False)

    def train_step(self, batch: dict) -> dict:
        """Labeled loss plus consistency, then the teacher's update."""
        assert self.teacher is not None  # on_train_start makes it
        self._sigterm.raise_if_requested()
        self.lr_scheduler.step(self.current_epoch + self._iteration_in_epoch / self.num_iterations_per_epoch)
        self._iteration_in_epoch += 1
        views = next(self._unlabeled)
        teacher_view, student_view = tensors_of(views, self.device, "images")[0].chunk(2)
        data = batch["data"].to(self.device, non_blocking=True)
        target = [level.to(self.device, non_blocking=True) for level in _as_list(batch["target"])]

        self.optimizer.zero_grad(set_to_none=True)
        with self.autocast():
            outputs = _as_list(self.network(torch.cat([data, student_view])))
            labeled = [output[: len(data)] for output in outputs]
            supervised = (
                self.loss(labeled, target) if self.enable_deep_supervision else self.loss(labeled[0], target[0])
            )
            with torch.no_grad():
                teacher_logits = _as_list(self.teacher(teacher_view))[0]
            difference = consistency(outputs[0][len(data) :], teacher_logits, self.label_manager.has_regions)
            loss = supervised + self._consistency_weight() * difference
        self.optimize(loss)
        if not torch.isfinite(loss):
            self.fail_on_loss(loss.item(), [*batch["keys"], *views["keys"]])
        self._steps += 1
        update_teacher(self.teacher, self.planned_network, self.settings.ema_decay, self._steps)
        return {"loss": loss.detach().cpu().numpy()}

    def _consistency_weight(self) -> float:
        ramp_up_steps = self.settings.ramp_up_fraction * self.num_epochs * self.num_iterations_per_epoch
        return self.settings.consistency_weight * ramp_up(self._steps / ramp_up_steps if ramp_up_steps else 1.0)

    # ----------------------------------------------------------------------------- validation is done by the teacher

    def _show_teacher(self) -> None:
        if self._student_state is None and self.teacher is not None:
            self._student_state = {key: value.clone() for key, value in self.planned_network.state_dict().items()}
            self.planned_network.load_state_dict(self.teacher.state_dict())

    def _show_student(self) -> None:
        if self._student_state is not None:
            self.planned_network.load_state_dict(self._student_state)
            self._student_state = None

    def on_validation_epoch_start(self) -> None:
        """Validates the teacher."""
        self._show_teacher()
        super().on_validation_epoch_start()

    def on_validation_epoch_end(self, val_outputs: list[dict]) -> None:
        """Goes back to the student."""
        super().on_validation_epoch_end(val_outputs)
        self._show_student()

    def perform_actual_validation(self, save_probabilities: bool = False) -> None:
        """nnU-Net's, with the teacher."""
        self._show_teacher()
        super().perform_actual_validation(save_probabilities)
        self._show_student()

    # ------------------------------------------------------------------------------------------------------ checkpoints

    def set_deep_supervision_enabled(self, enabled: bool) -> None:
        """Switches the teacher too."""
        super().set_deep_supervision_enabled(enabled)
        if self.teacher is not None:
            unwrap(self.teacher).decoder.deep_supervision = enabled

    def checkpoint_content(self, next_epoch: int) -> dict[str, Any]:
        """The teacher is what predicts; the student is kept for ``--c``."""
        content = super().checkpoint_content(next_epoch)
        # while the teacher is shown for validation, the network is not the student
        student = self._student_state or self.planned_network.state_dict()
        assert self.teacher is not None
        content["network_weights"] = self.teacher.state_dict()
        content[RECORD_KEY] |= {"student_weights": student, "steps": self._steps}
        return content

    def load_further_weights(self, checkpoint: dict[str, Any], source: str) -> None:
        """Takes the teacher from the checkpoint's network and puts the student into ours."""
        super().load_further_weights(checkpoint, source)
        record = checkpoint.get(RECORD_KEY, {})
        if "student_weights" not in record:
            raise UserError(f"{source} is not a checkpoint of a Mean Teacher, so it can't be continued.")
        compare_weights(record["student_weights"], self.planned_network).require_match(source)
        self._start_teacher()
        self.planned_network.load_state_dict(record["student_weights"])
        self._steps = record["steps"]

    def uses_setting(self, name: str) -> bool:
        """Its own too, and those of the pretraining that make its views."""
        own = name in TEACHER_SETTINGS or name == "pretraining.seed" or name.startswith("pretraining.views.")
        return own or super().uses_setting(name)


def _as_list(value: Any) -> list[torch.Tensor]:
    return list(value) if isinstance(value, (list, tuple)) else [value]
