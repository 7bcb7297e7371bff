"""Where runs are done: locks, slots, environment, and what they print."""

import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import joblib
import pytest
import torch

from nnunet_pix2rep.benchmark.execution.inherited_locks import HeldError, held_lock, is_held
from nnunet_pix2rep.benchmark.execution.machine import (
    Slot,
    environment_of,
    make_slots,
    prediction_variables,
)
from nnunet_pix2rep.benchmark.execution.progress import epochs_begun
from nnunet_pix2rep.benchmark.launch.setup import set_up
from nnunet_pix2rep.errors import UserError


@pytest.mark.skipif(os.name == "nt", reason="locks are POSIX")
def test_a_lock_outlives_who_took_it_as_long_as_its_command_runs(tmp_path):
    lock = tmp_path / "lock"
    code = (
        "import os, pathlib, subprocess, sys\n"
        "from nnunet_pix2rep.benchmark.execution.inherited_locks import held_lock\n"
        f"with held_lock(pathlib.Path({str(lock)!r})) as file:\n"
        "    sleeper = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], pass_fds=[file])\n"
        "    print(sleeper.pid, flush=True)\n"
        "    os.kill(os.getpid(), 9)\n"
    )
    taker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, encoding="utf-8")
    sleeper = int(taker.stdout.readline())
    taker.wait()
    try:
        assert is_held(lock)
        with pytest.raises(HeldError, match=f"process {taker.pid} on"), held_lock(lock):
            pass
    finally:
        os.kill(sleeper, 9)
    deadline = time.monotonic() + 300
    while is_held(lock) and time.monotonic() < deadline:
        time.sleep(0.05)
    with held_lock(lock):
        assert is_held(lock)
    assert not is_held(lock)


def test_epochs_are_read_from_what_nnunet_prints(tmp_path):
    log = tmp_path / "log.txt"
    assert epochs_begun(log) == 0
    log.write_text(
        "$ nnUNetv2_train\n2026-08-01 10:00:00.0: Epoch 0\n2026-08-01: Epoch time: 4.5 s\n2026: Epoch 7 \nx\n"
    )
    assert epochs_begun(log) == 7


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tpu", None, None), "device must be one of"),
        (("cpu", 0, None), "--jobs must be at least 1"),
        (("cpu", 1, ["0"]), "--devices names GPUs"),
    ],
)
def test_bad_places_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        make_slots(*arguments)


def test_more_jobs_than_gpus_are_refused_unless_they_are_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [slot.visible_device for slot in make_slots(None, 2, None)] == ["0", "1"]
    assert [slot.visible_device for slot in make_slots(None, None, ["1", "1"])] == ["1", "1"]
    assert make_slots(None, None, None) == [Slot("cuda", None, 1)]
    with pytest.raises(UserError, match=r"--jobs 3 is more than the 2 GPU\(s\)"):
        make_slots(None, 3, None)


def test_runs_that_share_a_gpu_all_see_it_and_share_the_cores(dataset, settings, tmp_path, monkeypatch):
    for name in ("OMP_NUM_THREADS", "nnUNet_n_proc_DA", "nnUNet_def_n_proc", "nnUNet_compile"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(joblib, "cpu_count", lambda: 16)
    slots = make_slots(None, None, ["0", "0", "0"], in_process=True)
    assert slots == [Slot("cuda", "0", 3, None, in_process=True)] * 3
    (cell,) = set_up(tmp_path / "out", settings(methods=("scratch",))).matrix.cells
    variables = environment_of(cell, slots[0])
    assert variables["CUDA_VISIBLE_DEVICES"] == "0"
    assert variables["nnUNet_n_proc_DA"] == "4"  # of 16 cores; nnU-Net would start twelve for each run
    assert "nnUNet_compile" not in variables


def test_jobs_on_a_processor_share_its_cores(dataset, settings, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 5, 6}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("nnUNet_n_proc_DA", "5")
    first, second = make_slots("cpu", 2, None)
    assert (first.cores, second.cores) == ((0, 2, 6), (1, 5))
    benchmark = set_up(tmp_path / "out", settings(methods=("scratch",)))
    variables = benchmark.executor.variables(benchmark.matrix.cells[0], second)
    assert variables["OMP_NUM_THREADS"] == variables["PYTHON_CPU_COUNT"] == "2"
    assert "nnUNet_n_proc_DA" not in variables  # the user's own stays
    assert [len(slot.cores) for slot in make_slots("cpu", 7, None)] == [1] * 7
    assert make_slots("cpu", 1, None)[0].cores is None


def test_the_processes_of_a_prediction_share_the_cores_of_their_slot(monkeypatch):
    for name in ("OMP_NUM_THREADS", "nnUNet_def_n_proc"):
        monkeypatch.delenv(name, raising=False)
    for cores, threads in ((1, "1"), (2, "1"), (6, "5"), (40, "8")):
        slot = Slot("cpu", cores=tuple(range(cores)))
        assert prediction_variables(slot) == {"OMP_NUM_THREADS": "1", "nnUNet_def_n_proc": threads}
    assert prediction_variables(Slot("cuda")) == {}
    assert prediction_variables(Slot("cuda", "0", 2, (0, 1, 2)))["nnUNet_def_n_proc"] == "2"
    monkeypatch.setenv("nnUNet_def_n_proc", "3")
    assert prediction_variables(Slot("cpu", cores=(0,))) == {"OMP_NUM_THREADS": "1"}  # the user's own stays


def test_one_process_predicts_with_all_cores_of_its_slot(dataset, settings, tmp_path, monkeypatch):
    for name in ("OMP_NUM_THREADS", "nnUNet_def_n_proc"):
        monkeypatch.delenv(name, raising=False)
    (cell,) = set_up(tmp_path / "out", settings(methods=("scratch",))).matrix.cells
    variables = environment_of(cell, Slot("cpu", None, 2, (0, 1, 2), in_process=True))
    assert variables["OMP_NUM_THREADS"] == variables["nnUNet_def_n_proc"] == "3"
    assert prediction_variables(Slot("cpu", in_process=True)) == {}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs CPU affinity")
def test_a_thread_binds_the_commands_that_it_starts_and_no_other_thread():
    before = os.sched_getaffinity(0)
    core = min(before)

    def run():
        Slot("cpu", cores=(core,)).bind_thread()
        code = "import os; print(os.sched_getaffinity(0))"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", check=True).stdout

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(run).result().strip() == str({core})
    assert os.sched_getaffinity(0) == before


TWO_THREADS = """
import torch
torch.set_num_threads(2)
network = torch.nn.Sequential(torch.nn.Conv2d(1, 16, 3), torch.nn.Conv2d(16, 32, 3, stride=2))
network(torch.randn(8, 1, 64, 64)).sum().backward()
"""


@pytest.mark.slow
def test_a_network_learns_under_the_variables_of_a_shared_processor(dataset, settings, tmp_path):
    """oneDNN hangs under OMP_THREAD_LIMIT where torch has set more threads, as nnU-Net does."""
    (cell,) = set_up(tmp_path / "out", settings(methods=("scratch",))).matrix.cells
    environment = environment_of(cell, make_slots("cpu", 2, None)[0])
    subprocess.run([sys.executable, "-c", TWO_THREADS], env=environment, check=True, timeout=600)
