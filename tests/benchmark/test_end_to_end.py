"""A tiny matrix through nnU-Net's real commands, killed in the middle and resumed."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
from tiny_training import PLANS

from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.subprocesses import same_package

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
METHODS = ("scratch", "masked_autoencoder")


def start(dataset, folder):
    """Starts the benchmark as a user does."""
    options = f"-d 901 -c 2d -p {PLANS} --methods {' '.join(METHODS)} --shots 1 --seeds 1 --test 2 --device cpu"
    lengths = "--iterations 12 --pretraining-iterations 4"
    command = [sys.executable, "-m", "nnunet_pix2rep.cli.main", "benchmark", *options.split(), *lengths.split()]
    root = dataset.parents[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")} | {
        "nnUNet_raw": str(root / "nnUNet_raw"),
        "nnUNet_preprocessed": str(root / "nnUNet_preprocessed"),
        "OMP_NUM_THREADS": "1",
        **same_package(),
    }
    return subprocess.Popen(
        [*command, "-o", str(folder)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
    )


def kill(process):
    """Ends the benchmark and the command that it runs at once, as a power cut does."""
    children = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, encoding="utf-8", check=False
    ).stdout.split()
    process.kill()
    for child in children:
        os.killpg(int(child), signal.SIGKILL)  # run_command gives each command a process group of its own
    process.wait()


@pytest.mark.skipif(os.name == "nt", reason="process groups are POSIX")
def test_a_matrix_that_is_killed_goes_on_where_it_was(tiny_benchmark_dataset, tmp_path):
    folder = tmp_path / "out"
    before = {path: path.lstat().st_mtime_ns for path in sorted(tiny_benchmark_dataset.parents[1].rglob("*"))}
    scratch, cell = (folder / "cells" / method / "shots_1" / "seed_0" for method in METHODS)
    process = start(tiny_benchmark_dataset, folder)
    deadline = time.monotonic() + 500
    while not list(cell.glob("nnUNet_results/*/*/fold_0/checkpoint_latest.pth")):
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    kill(process)
    finished = (scratch / "run.json").read_bytes()
    assert read_json(cell / "run.json")["status"] == "running"

    process = start(tiny_benchmark_dataset, folder)
    printed, _ = process.communicate()
    assert process.returncode == 0, printed
    assert (scratch / "run.json").read_bytes() == finished
    first, second = read_json(cell / "run.json")["attempts"]
    assert "-pretrained_weights" in first["command"]
    assert second["command"].endswith("--c")
    log = next(iter(cell.glob("nnUNet_results/*/*/fold_0"))).glob("training_log_*.txt")
    # one that began again would have its first epoch twice
    assert sum(line.rstrip().endswith(": Epoch 0") for file in log for line in file.read_text().splitlines()) == 1
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["method"], row["class"]) for row in rows} == {
        (method, name) for method in METHODS for name in ("ring", "core")
    }
    assert len(rows) == 2 * 2 * 2
    assert all(0 <= float(row["dice"]) <= 1 for row in rows)
    with (folder / "runs.csv").open(encoding="utf-8", newline="") as file:
        assert [row["status"] for row in csv.DictReader(file)] == ["finished", "finished"]
    assert (folder / "report.md").is_file()
    after = {path: path.lstat().st_mtime_ns for path in sorted(tiny_benchmark_dataset.parents[1].rglob("*"))}
    assert after == before


@pytest.mark.skipif(os.name == "nt", reason="open files are handed on by POSIX")
def test_slices_are_chosen_by_features_annotated_and_trained_on_in_one_process(tiny_benchmark_dataset, tmp_path):
    folder = tmp_path / "out"
    options = (
        f"benchmark -d 901 -c 2d -p {PLANS} --methods scratch pix2rep_v2 --budget 6 all "
        "--select random_patients coverage "
        "--seeds 1 --test 2 --device cpu --in-process --iterations 4 --pretraining-iterations 2 --no-images"
    )
    root = tiny_benchmark_dataset.parents[1]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")} | {
        "nnUNet_raw": str(root / "nnUNet_raw"),
        "nnUNet_preprocessed": str(root / "nnUNet_preprocessed"),
        "OMP_NUM_THREADS": "1",
        **same_package(),
    }
    command = [sys.executable, "-m", "nnunet_pix2rep.cli.main", *options.split(), "-o", str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    candidates = read_json(folder / "annotation_sets" / "candidates.json")
    test_patients = read_json(folder / "benchmark.json")["test_patients"]
    number_of_all = str(sum(len(scan["slices"]) for scan in candidates if scan["patient"] not in test_patients))
    assert {(row["method"], row["selector"], row["budget"]) for row in rows} == {
        (method, selector, budget)
        for method in ("scratch", "pix2rep_v2")
        for selector, budget in (("random_patients", "6"), ("coverage", "6"), ("all_slices", number_of_all))
    }
    assert all(0 <= float(row["dice"]) <= 1 for row in rows)
    chosen = read_json(folder / "annotation_sets" / "coverage" / "slices_6" / "draw_0" / "annotation_set.json")
    assert len(chosen["slices"]) == 6
    assert len(chosen["patients"]) == 3  # of four, one is left out
    log = (folder / "cells" / "pix2rep_v2" / "coverage" / "slices_6" / "draw_0" / "log.txt").read_text()
    assert "-pretrained_weights" in log
    report = (folder / "report.md").read_text(encoding="utf-8")
    assert "scratch + random_patients" in report
    assert "6 annotated slices" in report
