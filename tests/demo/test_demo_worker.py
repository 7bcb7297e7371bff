import os
import subprocess
import sys
import time

import pytest

from nnunet_pix2rep.benchmark.execution.inherited_locks import is_held
from nnunet_pix2rep.demo.only_demo import LOCK_FILE
from nnunet_pix2rep.demo.worker import run_here

# A command that holds a lock as long as it or a process that it has started is alive.
SLEEPER = """
import subprocess, sys
from pathlib import Path
from nnunet_pix2rep.benchmark.execution.inherited_locks import held_lock

def main(arguments):
    folder = Path(arguments[0])
    with held_lock(folder / "alive") as lock:
        (folder / "started").touch()
        subprocess.run([sys.executable, "-c", "import time; time.sleep(3600)"], pass_fds=[lock])
"""
DEMO = """
import os, sys
from pathlib import Path
from nnunet_pix2rep.benchmark.execution.in_process.worker import NnunetWorker
from nnunet_pix2rep.demo.only_demo import only_demo

folder = Path(sys.argv[1])
with only_demo(folder / "demo") as lock:
    worker = NnunetWorker([sys.executable, "-m", "nnunet_pix2rep.demo.worker"])
    worker.run(("python", "-m", "sleeper", str(folder)), folder / "log", os.environ, inherited_files=[lock])
"""


def wait_until(condition):
    deadline = time.monotonic() + 300
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def test_commands_run_with_their_own_arguments(tmp_path, capsys):
    run_here(("nnunet_pix2rep", "trainers"))
    assert "trainers" in capsys.readouterr().out
    run_here(("python", "-m", "nnunet_pix2rep.demo.phantom", "-o", str(tmp_path), "--patients", "1"))
    assert (tmp_path / "Dataset900_CardiacPhantom" / "imagesTr" / "patient000_ED_0000.nii.gz").is_file()


def test_a_failure_ends_the_process_with_its_exit_code(tmp_path):
    with pytest.raises(SystemExit) as end:
        run_here(("nnunet_pix2rep", "demo", "--output", str(tmp_path), "--data", str(tmp_path / "missing")))
    assert end.value.code == 1


@pytest.mark.skipif(os.name == "nt", reason="the worker is for POSIX")
def test_a_demo_that_is_killed_leaves_no_command_running_and_its_folder_free(tmp_path):
    (tmp_path / "sleeper.py").write_text(SLEEPER)
    demo = subprocess.Popen([sys.executable, "-c", DEMO, tmp_path], env={**os.environ, "PYTHONPATH": str(tmp_path)})
    assert wait_until((tmp_path / "started").exists)
    assert is_held(tmp_path / "alive")
    demo.kill()
    demo.wait()
    assert wait_until(lambda: not is_held(tmp_path / "alive"))
    assert wait_until(lambda: not is_held(tmp_path / "demo" / LOCK_FILE))
