"""The rehearsal: all steps of the prepared run on the processor, a thousand times shorter; and its parts."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import prepared_run
import pytest
import SimpleITK
import torch
from limited_command import COULD_NOT_START, run_limited
from prepared_card import parse_look
from prepared_run import environment_of, main
from prepared_scale import ON_A_CARD, REHEARSAL
from prepared_steps import DONE, FAILED, METHODS, SELECTOR, STEPS, slices_of_a_patient
from prepared_summary import summary_of
from reduced_dataset import files_of, spread_evenly, with_pixels, write_reduced, write_with_pixels
from tiny_training import CASES, DATASET, SHAPE, make_tiny_dataset

from nnunet_pix2rep.files import read_json, write_json


@pytest.fixture(scope="module")
def raw_dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("prepared_run")
    make_tiny_dataset(root)
    return root / "nnUNet_raw" / DATASET


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.name == "nt", reason="SIGTERM cannot be handled")
def test_the_rehearsal_does_every_step_once(raw_dataset, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    output = tmp_path / "output"
    arguments = [str(raw_dataset), str(output), "--work", str(tmp_path / "work"), "--rehearsal", "--draws", "1"]
    has_done_all = main(arguments) == 0
    log = (output / "log.txt").read_text(encoding="utf-8")
    assert has_done_all, log
    found = {name: read_json(output / f"{name}.json") for name in STEPS if name != "prepare"}
    assert found["tests"]["tests"] > 0
    assert torch.cuda.is_available() or found["tests"]["skipped"] == found["tests"]["tests"]
    pretraining = found["pretraining"]
    assert pretraining["exit_codes"] == [143, 0]
    assert sum(pretraining["epochs"]) == REHEARSAL.epochs
    assert pretraining["steps_per_second"] > 0
    trainings = found["trainings"]
    assert {run["status"] for run in trainings["runs"]} == {"finished"}
    assert {arm["arm"] for arm in trainings["arms"]} == {f"{method} + {SELECTOR}" for method in METHODS}
    assert found["speed"]["measured"]["step_overhead"]
    summary = (output / "summary.md").read_text(encoding="utf-8")
    assert all(f"## {name.capitalize()}" in summary for name in STEPS)
    assert re.search(r"step_overhead +info_nce +step / bare network", summary)
    assert len(list(output.iterdir())) <= 8  # as many as come back from a lent machine
    kept = {file: file.read_bytes() for file in output.iterdir()}
    capsys.readouterr()
    assert main(arguments) == 0
    assert capsys.readouterr().out.count("done before") == len(STEPS)
    assert {file: file.read_bytes() for file in kept} == kept


def test_the_steps_on_a_card_fit_into_nine_minutes():
    *others, last = STEPS
    assert ON_A_CARD.total <= 540
    assert sum(ON_A_CARD.seconds[name] for name in others) + 100 <= ON_A_CARD.total
    assert ON_A_CARD.seconds[last] <= ON_A_CARD.total
    assert (ON_A_CARD.finetuning, ON_A_CARD.pretraining) == (1000 * REHEARSAL.finetuning, 1000 * REHEARSAL.pretraining)


def python(*lines):
    return (sys.executable, "-c", "\n".join(lines))


def test_a_command_is_asked_to_end_when_its_time_is_over(tmp_path):
    polite = python(
        "import signal, sys, time",
        "signal.signal(15, lambda *_: sys.exit(143))",
        "print(1, flush=True)",
        "time.sleep(3600)",
    )
    log = tmp_path / "log.txt"
    ended = run_limited(polite, log, os.environ, 3600, stop_when=lambda: "\n1" in log.read_text() or time.sleep(0.1))
    assert ended.was_stopped
    assert ended.exit_code in (143, -signal.SIGTERM)
    deaf = python("import signal, time", "signal.signal(15, signal.SIG_IGN)", "time.sleep(60)")
    assert run_limited(deaf, log, os.environ, 1, grace=0.5).exit_code in (-signal.SIGKILL, -signal.SIGTERM)
    assert run_limited(python("raise SystemExit(3)"), log, os.environ, 60).exit_code == 3
    assert run_limited(("no-such-program",), log, os.environ, 60).exit_code == COULD_NOT_START


def is_gone(process_id):
    """Whether a process has ended; one that nobody has waited for is a zombie."""
    file = Path(f"/proc/{process_id}/stat")
    try:
        return file.read_text(encoding="utf-8").rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_command_leaves_nothing_running(tmp_path):
    with_child = python("import subprocess", "print(subprocess.Popen(['sleep', '60']).pid, flush=True)")
    log = tmp_path / "log.txt"
    assert run_limited(with_child, log, os.environ, 60).exit_code == 0
    assert wait_until(lambda: is_gone(log.read_text(encoding="utf-8").split()[-1]))


@pytest.mark.skipif(sys.platform != "linux", reason="asks the kernel for a signal")
def test_a_command_is_asked_to_end_when_the_run_is_killed(tmp_path):
    log = tmp_path / "log.txt"
    polite = "import signal, sys, time; signal.signal(15, lambda *_: sys.exit(print('asked'))); print('up', flush=True)"
    script = python(
        "import os, sys",
        "from pathlib import Path",
        "from limited_command import run_limited",
        f"run_limited((sys.executable, '-c', {polite + '; time.sleep(600)'!r}), Path({str(log)!r}), os.environ, 600)",
    )
    run = subprocess.Popen(script, cwd=Path(__file__).parent)
    try:
        assert wait_until(lambda: log.is_file() and "\nup" in log.read_text(encoding="utf-8"))
    finally:
        run.kill()
        run.wait()
    assert wait_until(lambda: "\nasked" in log.read_text(encoding="utf-8"))


def test_only_what_needs_the_data_is_left_out_where_they_cannot_be_prepared(tmp_path, monkeypatch, capsys):
    done = []

    def step(name):
        return lambda _run, _seconds: done.append(name) or {"status": FAILED if name == "prepare" else DONE}

    monkeypatch.setattr(prepared_run, "STEPS", {name: step(name) for name in STEPS})
    monkeypatch.setattr(prepared_run, "write_summary", lambda _run: None)
    assert main([str(tmp_path), str(tmp_path / "output"), "--work", str(tmp_path / "work"), "--rehearsal"]) == 1
    assert done == ["prepare", "tests", "speed"]
    assert capsys.readouterr().out.count("not without what prepare makes") == 2


def test_on_a_card_nothing_of_nnunet_is_set_that_slows_it_down(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_compile", "f")
    on_a_card = environment_of(tmp_path, "cuda")
    assert {name for name in on_a_card if name.startswith("nnUNet_")} == {
        *("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results", "nnUNet_extTrainer")
    }
    assert environment_of(tmp_path, "cpu")["nnUNet_compile"] == "f"


def test_patients_are_spread_evenly_and_whole(raw_dataset, tmp_path):
    assert spread_evenly(list("abcdefg"), 3) == ["a", "d", "g"]
    assert spread_evenly(list("abcdefg"), 7) == list("abcdefg")
    assert list(files_of(raw_dataset)) == list(CASES)
    size = sum(file.stat().st_size for file in raw_dataset.rglob("*.nii.gz"))
    assert write_reduced(raw_dataset, tmp_path / "half", size * 0.55) == 3
    assert list(files_of(tmp_path / "half")) == spread_evenly(list(CASES), 3)
    assert read_json(tmp_path / "half" / "dataset.json")["numTraining"] == 3


def test_wider_pixels_keep_place_and_field_of_view():
    ramp = np.broadcast_to(np.arange(40, dtype=np.float32), (3, 30, 40))
    image = SimpleITK.GetImageFromArray(ramp)
    image.SetSpacing((1.5, 1.0, 8.0))
    image.SetOrigin((5.0, -7.0, 2.0))
    image.SetDirection((0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 0.0, 0.0, 1.0))
    wider = with_pixels(image, 3.0, SimpleITK.sitkLinear)
    assert wider.GetSize() == (20, 10, 3)
    assert wider.GetSpacing() == (3.0, 3.0, 8.0)
    # A point of the body has the value that it had.
    for index in ((0, 0, 0), (10, 5, 1), (19, 9, 2)):
        at = image.TransformPhysicalPointToContinuousIndex(wider.TransformIndexToPhysicalPoint(index))
        assert wider[index] == pytest.approx(at[0], abs=1e-4)
    center = [(size - 1) / 2 for size in image.GetSize()], [(size - 1) / 2 for size in wider.GetSize()]
    assert image.TransformContinuousIndexToPhysicalPoint(center[0]) == pytest.approx(
        wider.TransformContinuousIndexToPhysicalPoint(center[1])
    )


def test_labels_of_wider_pixels_lie_on_their_images(raw_dataset, tmp_path):
    write_with_pixels(raw_dataset, tmp_path / "wider", 3.0)
    before, after = files_of(raw_dataset), files_of(tmp_path / "wider")
    assert before == after
    for label, *images in after.values():
        labels = SimpleITK.ReadImage(str(tmp_path / "wider" / label))
        assert set(np.unique(SimpleITK.GetArrayFromImage(labels))) <= set(
            np.unique(SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(raw_dataset / label))))
        )
        for path in images:
            image = SimpleITK.ReadImage(str(tmp_path / "wider" / path))
            assert (image.GetSize(), image.GetSpacing(), image.GetOrigin()) == (
                labels.GetSize(),
                labels.GetSpacing(),
                labels.GetOrigin(),
            )
            assert image.GetSpacing()[:2] == (3.0, 3.0)


def test_a_patient_has_the_slices_of_all_scans(raw_dataset, tmp_path):
    assert slices_of_a_patient(raw_dataset) == SHAPE[0]
    write_reduced(raw_dataset, tmp_path / "copy", 1e9)
    pairs = {case: {"patient": f"patient_{number // 2}"} for number, case in enumerate(CASES)}
    write_json(pairs, tmp_path / "copy" / "patients.json")
    assert slices_of_a_patient(tmp_path / "copy") == 2 * SHAPE[0]


def test_what_nvidia_smi_prints_is_read():
    assert parse_look("87, 10240\n3, 0\n") == (87.0, 10240.0)


def test_the_summary_names_the_card_and_what_failed():
    tests = {
        "status": "failed",
        "seconds": 3.0,
        "tests": 5,
        "failures": 1,
        "errors": 0,
        "skipped": 1,
        "failed": ["test_a"],
    }
    text = summary_of(
        "NVIDIA H100", {"torch": "2"}, {"tests": tests | {"card_busy_percent": 40.0, "card_memory_mib": 2048}}
    )
    assert text.startswith("# The prepared run on NVIDIA H100\n")
    assert "| tests | failed | 3.0 | 40.0 % | 2.0 GiB |" in text
    assert "3 passed, 1 failed, 1 skipped." in text
    assert "- failed: test_a" in text
