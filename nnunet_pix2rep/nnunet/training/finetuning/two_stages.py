"""Pretraining and fine-tuning in one command.

One pretraining serves every fold that holds out the same patients: few-shot folds share one validation set, so a
benchmark over many of them pretrains once.
"""

from __future__ import annotations

import hashlib
import json
from copy import deepcopy
from pathlib import Path
from typing import Any, TypeVar

from filelock import FileLock, Timeout
from torch import distributed

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import FINAL, LATEST, load_latest
from nnunet_pix2rep.nnunet.environment import WANDB_SWITCH, environment
from nnunet_pix2rep.nnunet.training.finetuning.finetune import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.training.finetuning.wanted_pretraining import (
    WantedPretraining,
    find_finished,
    planned_for_pretraining,
)
from nnunet_pix2rep.nnunet.training.pretraining.epoch_report import write_summary
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import Pix2RepPretrainTrainer

Answer = TypeVar("Answer")

LOCK_POLLING_SECONDS = 1
OTHER_PRETRAINING = (
    "{folder} holds a pretraining with other settings or other held-out patients than this fold's, or under other "
    "plans (spacing, normalization, network, patch or batch size), which is not overwritten. Move it away, or use "
    "plans of another name."
)


class Pix2RepBothStagesTrainer(Pix2RepFinetuneTrainer):
    """Fine-tuning that first does the pretraining it needs, unless it is there already; subclasses name its trainer."""

    pretraining_class: type[Pix2RepPretrainTrainer]

    def provide_pretrained_weights(self) -> Path:
        """A pretraining that held out this fold's validation patients: waits for it, resumes it or does it."""
        held_out = self.find_held_out_patients()
        name = f"{self.pretraining_class.__name__}__{self.plans_manager.plans_name}__{self.configuration_name}"
        folder = Path(self.output_folder_base).parent / name
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".held_out_{hashlib.sha256(json.dumps(held_out).encode()).hexdigest()[:16]}.lock")
        self._acquire(lock)
        try:
            planned = planned_for_pretraining(self.plans_manager.plans, self.configuration_name)
            wanted = WantedPretraining(self.config, held_out, planned)
            found = self._agree(find_finished(folder, wanted) if self.local_rank == 0 else None)
            if found is None:
                found = self._pretrain(wanted)
        finally:
            lock.release()
        return found

    def _acquire(self, lock: FileLock) -> None:
        """Process 0 takes the lock; the others learn after every try whether it has it.

        Another pretraining may hold the lock for hours, but NCCL ends a process that waits ten minutes for another:
        nnU-Net leaves its timeout as it is (nnunetv2 2.8.1, run/run_training.py, ``setup_ddp``).
        """
        waiting = False
        while not self._agree(self.local_rank == 0 and is_acquired(lock, LOCK_POLLING_SECONDS if waiting else 0)):
            if not waiting:
                self.print_to_log_file("Another process pretrains with the same held-out patients; waiting for it.")
            waiting = True
            self._sigterm.raise_if_requested()

    def _agree(self, answer: Answer) -> Answer:
        """The answer of process 0, in every process."""
        if not self.is_ddp:
            return answer
        box = [answer]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def _pretrain(self, wanted: WantedPretraining) -> Path:
        plans = deepcopy(self.plans_manager.plans) | {"continue_training": True}
        # Weights & Biases has one run in a process, and it is stage 2's already.
        with environment({WANDB_SWITCH: "0"}):
            pretraining = self.pretraining_class(
                plans, self.configuration_name, self.fold, self.dataset_json, self.device
            )
        folder = Path(pretraining.output_folder)
        final, latest = folder / FINAL, folder / LATEST
        if final.is_file():
            raise UserError(OTHER_PRETRAINING.format(folder=folder))
        self.print_to_log_file(f"Stage 1, pretraining, in {folder}")
        if latest.is_file():
            checkpoint, source = load_latest(latest, self.device, pretraining.print_to_log_file)
            if not wanted.is_of(checkpoint, source, finished=False):
                raise UserError(OTHER_PRETRAINING.format(folder=folder))
            pretraining.load_checkpoint(checkpoint)
            pretraining.print_to_log_file(f"Going on from {source}, epoch {pretraining.current_epoch}.")
        pretraining.disable_checkpointing = False  # stage 2 starts from the file, whatever the user wants of its own
        pretraining.run_training()
        if self.local_rank == 0:
            write_summary(pretraining)
        if self.is_ddp:
            # Process 0 writes the checkpoint that all load next; nnU-Net's loop ends without waiting for it (nnunetv2
            # 2.8.1, training/nnUNetTrainer/nnUNetTrainer.py).
            distributed.barrier()
        self.print_to_log_file("Stage 2, fine-tuning")
        return final

    def record(self) -> dict[str, Any]:
        """Adds the pretraining trainer's name."""
        return super().record() | {"pretraining_trainer": self.pretraining_class.__name__}


def is_acquired(lock: FileLock, seconds: float) -> bool:
    """Tries to take a lock for some seconds; whether it was taken."""
    try:
        lock.acquire(timeout=seconds)
    except Timeout:
        return False
    return True
