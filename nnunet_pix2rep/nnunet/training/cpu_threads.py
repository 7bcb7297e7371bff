"""How many threads torch may use on a CPU."""

from __future__ import annotations

import os

import torch


def honor_omp_num_threads(device: torch.device) -> None:
    """Gives ``OMP_NUM_THREADS`` back its meaning, where the user has set it and trains on a CPU.

    ``nnUNetv2_train -device cpu`` takes as many threads as the machine has cores, whatever the variable says and
    however few cores the process may use (nnunetv2 2.8.1, run/run_training.py, run_training_entry). Threads that share
    a core wait for one another by spinning in oneDNN, and a step takes several times as long.
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if device.type == "cpu" and wanted.isdecimal() and int(wanted) > 0:
        torch.set_num_threads(int(wanted))
