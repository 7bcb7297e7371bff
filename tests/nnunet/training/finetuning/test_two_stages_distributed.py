"""Two processes of a training in two stages: process 0 writes and waits, the other goes by what it finds.

nnU-Net's trainers of several processes need GPUs, so only what leads from stage 1 to stage 2 is the real code here.
"""

import threading
import time
from functools import partial
from types import SimpleNamespace

from filelock import FileLock
from torch import distributed
from two_processes import run_in_two_processes

from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.nnunet.checkpoints.files import FINAL
from nnunet_pix2rep.nnunet.training.finetuning import two_stages
from nnunet_pix2rep.nnunet.training.sigterm import SigtermWatch

SECONDS_TO_SAVE = 1
NUM_BROADCASTS = 3
MOST_SECONDS_TO_HOLD = 10


class Pretraining:
    """Ends as nnU-Net's loop does: process 0 is still writing when the others go on."""

    def __init__(self, plans, *_others):
        self.output_folder = plans["folder"]

    def run_training(self):
        if distributed.get_rank() == 0:
            time.sleep(SECONDS_TO_SAVE)
            (self.output_folder / FINAL).touch()


class BothStages(two_stages.Pix2RepBothStagesTrainer):
    """What the way to the pretrained weights asks of a trainer."""

    pretraining_class = Pretraining

    def __init__(self, folder):
        self.is_ddp, self.local_rank, self.device = True, distributed.get_rank(), None
        self.plans_manager = SimpleNamespace(plans_name="Plans", plans={"folder": folder})
        self.configuration_name, self.fold, self.dataset_json, self.config = "2d", 0, {}, Pix2RepConfig()
        self.output_folder_base = str(folder / "results" / "BothStages")
        self._sigterm = SigtermWatch()

    def find_held_out_patients(self):
        return []

    def print_to_log_file(self, *_text):
        pass


def sees_the_weights(folder, _rank):
    """Whether the file that this process is told to load is there."""
    two_stages.write_summary = lambda _pretraining: None
    two_stages.planned_for_pretraining = lambda _plans, _configuration: {}
    return BothStages(folder).provide_pretrained_weights().is_file()


def broadcasts_while_another_pretrains(folder, rank):
    """How many broadcasts process 1 has been through when it lets go of the lock that process 0 waits for."""
    two_stages.LOCK_POLLING_SECONDS = 0.05
    two_stages.FileLock = lambda _file: FileLock(folder / "lock")
    others = FileLock(folder / "lock", thread_local=False)  # the timer has a thread of its own
    broadcast, seen, held = distributed.broadcast_object_list, [], []

    def release():
        held.append(len(seen))
        others.release()

    def counted(*arguments, **keywords):
        broadcast(*arguments, **keywords)
        seen.append(arguments)
        if len(seen) == NUM_BROADCASTS:
            release()

    timer = threading.Timer(MOST_SECONDS_TO_HOLD, release)
    if rank == 1:
        distributed.broadcast_object_list = counted
        others.acquire()
        timer.start()
    distributed.barrier()
    sees_the_weights(folder, rank)
    timer.cancel()
    return held[:1]


def test_no_process_loads_the_pretraining_before_it_is_written(tmp_path):
    assert run_in_two_processes(partial(sees_the_weights, tmp_path), tmp_path) == [True, True]


def test_processes_meet_again_and_again_while_another_training_holds_the_lock(tmp_path):
    """A single broadcast for the whole wait would run into the timeout of NCCL."""
    found = run_in_two_processes(partial(broadcasts_while_another_pretrains, tmp_path), tmp_path)
    assert found == [[], [NUM_BROADCASTS]]
