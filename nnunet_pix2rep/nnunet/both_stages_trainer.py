"""Pretraining and fine-tuning in one command.

One pretraining serves every fold that holds out the same patients: few-shot folds share one validation set, so a
benchmark over many of them pretrains once.
"""

from __future__ import annotations

import hashlib
from copy import deepcopy
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from torch import distributed

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.checkpoint import FINAL, LATEST
from nnunet_pix2rep.nnunet.finetune_trainer import Pix2RepFinetuneTrainer
from nnunet_pix2rep.nnunet.pretrain_trainer import SUMMARY_FILE, Pix2RepPretrainTrainer


class Pix2RepBothStagesTrainer(Pix2RepFinetuneTrainer):
    """Fine-tuning that first does the pretraining it needs, unless it is there already; subclasses name its trainer."""

    pretraining_class: type[Pix2RepPretrainTrainer]

    def provide_pretrained_weights(self) -> Path:
        """The pretraining that held out this fold's validation patients; waits for it, resumes it or does it where necessary."""
        pretraining = self._build_pretraining()
        held_out = pretraining.find_held_out_patients()
        lock_name = hashlib.sha256("\n".join(held_out).encode()).hexdigest()[:16]
        lock = FileLock(Path(pretraining.output_folder_base) / f".held_out_{lock_name}.lock")
        if self.local_rank == 0:
            self._acquire(lock)
        try:
            found = self._agree(find_finished(pretraining, held_out) if self.local_rank == 0 else None)
            if found is None:
                found = self._pretrain(pretraining)
        finally:
            lock.release()
        return found

    def _build_pretraining(self) -> Pix2RepPretrainTrainer:
        """A pretraining trainer for the same data; its log stands in its own output folder."""
        plans = deepcopy(self.plans_manager.plans) | {"continue_training": True}
        return self.pretraining_class(plans, self.configuration_name, self.fold, self.dataset_json, self.device)

    def _acquire(self, lock: FileLock) -> None:
        try:
            lock.acquire(timeout=0)
        except Timeout:
            self.print_to_log_file("Another process is pretraining with the same held-out patients; waiting for it.")
            lock.acquire()

    def _agree(self, found: Path | None) -> Path | None:
        """What process 0 found, in every process."""
        if not self.is_ddp:
            return found
        box = [found]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def _pretrain(self, pretraining: Pix2RepPretrainTrainer) -> Path:
        folder = Path(pretraining.output_folder)
        final, latest = folder / FINAL, folder / LATEST
        if final.is_file():
            raise UserError(
                f"{folder} holds a finished pretraining with other settings or other held-out patients than this "
                "fold's, and is not "
                "overwritten. Move it away, or use plans of another name."
            )
        self.print_to_log_file(f"Stage 1, pretraining, in {folder}")
        if latest.is_file():
            pretraining.load_checkpoint(str(latest))
            pretraining.print_to_log_file(f"Going on from {latest}, epoch {pretraining.current_epoch}.")
        pretraining.disable_checkpointing = False  # stage 2 starts from the file, whatever the user wants of its own
        pretraining.run_training()
        pretraining.perform_actual_validation()
        self.print_to_log_file("Stage 2, fine-tuning")
        return final

    def record(self) -> dict[str, Any]:
        """Adds the pretraining trainer's name."""
        return super().record() | {"pretraining_trainer": self.pretraining_class.__name__}


def find_finished(pretraining: Pix2RepPretrainTrainer, held_out: list[str]) -> Path | None:
    """A finished pretraining in any fold with the same settings and the same held-out patients, or None."""
    for summary_file in sorted(Path(pretraining.output_folder_base).glob(f"fold_*/{SUMMARY_FILE}")):
        final = summary_file.with_name(FINAL)
        summary = read_json(summary_file)
        same_settings = summary["config"]["pretraining"] == pretraining.config.to_block()["pretraining"]
        if final.is_file() and same_settings and summary["held_out_patients"] == held_out:
            return final
    return None
