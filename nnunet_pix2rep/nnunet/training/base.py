"""What all trainers of this package share: settings from the plans, checked folds, a checked loss.

Read against nnunetv2 2.8.1, training/nnUNetTrainer/nnUNetTrainer.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from nnunetv2.utilities.helpers import dummy_context
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from torch import nn

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import FORMAT_VERSION, package_versions
from nnunet_pix2rep.nnunet.loading.fold_cases import check_fold, patients_of, warn_of_leaks
from nnunet_pix2rep.nnunet.loading.training_images import preprocessed_labelled_cases
from nnunet_pix2rep.nnunet.plans.plans_file import read_config
from nnunet_pix2rep.nnunet.training.cpu_threads import honour_omp_num_threads
from nnunet_pix2rep.nnunet.training.resumable import ResumableTrainer

NNUNET_GRADIENT_CLIPPING = 12
CPU_BFLOAT16_VARIABLE = "nnUNet_pix2rep_cpu_bfloat16"
CITATION = (
    "\n#######################################################################\n"
    "Please cite the following papers when using Pix2Rep:\n"
    "Seince, M., Le Folgoc, L., Facury de Souza, L. A., & Angelini, E. (2024). Dense Self-Supervised Learning for "
    "Medical Image Segmentation. Medical Imaging with Deep Learning (MIDL). arXiv:2407.20395; and, for Pix2Rep-v2, "
    "arXiv:2609.01427.\n"
    "#######################################################################\n"
)


def has_cpu_bfloat16() -> bool:
    """Whether oneDNN, which does torch's convolutions on CPUs, supports bfloat16 on this processor."""
    return torch.ops.mkldnn._is_mkldnn_bf16_supported()  # public in torch 2.14: a list of instructions only


class Pix2RepTrainer(ResumableTrainer):
    """Base of the trainers. A loss that is not finite stops the training before anything is saved."""

    def __init__(
        self,
        plans: dict,
        configuration: str,
        fold: int,
        dataset_json: dict,
        device: torch.device = torch.device("cuda"),
    ):
        honour_omp_num_threads(device)
        previous_stage = PlansManager(plans).get_configuration(configuration).previous_stage_name
        if previous_stage is not None:
            raise UserError(
                f"Pix2Rep does not train cascades: {configuration} takes the segmentation of {previous_stage} as "
                "input. Use 3d_fullres or 3d_lowres."
            )
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.config = read_config(
            self.configuration_manager, f"plans {self.plans_manager.plans_name}, configuration {configuration}"
        )
        self._has_checked_split = False
        self.print_to_log_file(CITATION, add_timestamp=False)
        if self._wants_cpu_bfloat16() and not has_cpu_bfloat16():
            self.print_to_log_file(
                f"WARNING: {CPU_BFLOAT16_VARIABLE}=1, but this processor has no instructions for bfloat16: "
                "convolutions may take many times as long as in float32. Unset the variable on this machine."
            )

    def set_length(self, settings: Any) -> None:
        """Takes epochs, iterations and the saving interval from a part of the configuration."""
        self.num_epochs = settings.num_epochs
        self.num_iterations_per_epoch = settings.num_iterations_per_epoch
        self.num_val_iterations_per_epoch = settings.num_val_iterations_per_epoch
        self.save_every = settings.save_every

    # ------------------------------------------------------------------------------------------------------------ folds

    def check_fold(self) -> None:
        """Refuses folds that nnU-Net would make up or fail on.

        Raises:
            UserError: see :func:`nnunet_pix2rep.nnunet.loading.fold_cases.check_fold`.
        """
        cases = [case.identifier for case in preprocessed_labelled_cases(Path(self.preprocessed_dataset_folder))]
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

    def optimise(self, loss: torch.Tensor, gradient_clipping: float = NNUNET_GRADIENT_CLIPPING) -> None:
        """Gradients, clipped, and a step of the optimiser, as in ``nnUNetTrainer.train_step``."""
        if self.grad_scaler is None:
            loss.backward()
        else:
            self.grad_scaler.scale(loss).backward()
            self.grad_scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.network.parameters(), gradient_clipping)
        if self.grad_scaler is None:
            self.optimizer.step()
        else:
            self.grad_scaler.step(self.optimizer)
            self.grad_scaler.update()

    def _wants_cpu_bfloat16(self) -> bool:
        return self.device.type == "cpu" and os.environ.get(CPU_BFLOAT16_VARIABLE) == "1"

    def autocast(self) -> Any:
        """AMP where nnU-Net uses it, on CUDA devices, and in bfloat16 on CPUs where the user asks for it.

        Processors with bfloat16 instructions (AMX, AVX-512 BF16) take about two thirds of the time; others take far
        longer (of which the log warns), so it is a matter of the machine and not of the plans.
        """
        if self.device.type == "cuda":
            return torch.autocast("cuda")
        if self._wants_cpu_bfloat16():
            return torch.autocast("cpu", torch.bfloat16)
        return dummy_context()

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
