"""A worker of light commands: one process, and for each command what ``run_command`` does for it."""

import os
import subprocess
import sys
import time

import pytest

from nnunet_pix2rep.benchmark.execution.in_process.worker import NnunetWorker
from nnunet_pix2rep.benchmark.execution.inherited_locks import held_lock, is_held
from nnunet_pix2rep.errors import UserError

pytestmark = pytest.mark.skipif(os.name == "nt", reason="open files are handed on by POSIX")
SERVE = (
    "import sys\n"
    "from multiprocessing.connection import Connection\n"
    "from nnunet_pix2rep.benchmark.execution.in_process.server import serve\n"
    "serve(Connection(int(sys.argv[1])), lambda command: exec(command[1], {}))\n"
)
PROGRAM = (sys.executable, "-c", SERVE)
PRINT_PROCESS = ("python", "import os; print(os.getpid())")


@pytest.fixture
def worker():
    worker = NnunetWorker(PROGRAM)
    yield worker
    worker.close()


def lines_of(log):
    return [line for line in log.read_text().splitlines() if not line.startswith("$")]


def wait_until(condition):
    deadline = time.monotonic() + 300
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.02)
    return condition()


def is_alive(process):
    """Whether a process runs; one that has ended and waits for its parent does not."""
    state = subprocess.run(
        ["ps", "-o", "stat=", "-p", str(process)], capture_output=True, encoding="utf-8", check=False
    )
    return state.stdout.strip()[:1] not in ("", "Z")


def test_commands_share_a_process_but_neither_log_nor_environment(worker, tmp_path):
    code = (
        "import os, subprocess; print(os.getpid(), os.environ.get('WORD'), flush=True); subprocess.run(['echo', 'sub'])"
    )
    for word, environment in (("first", {**os.environ, "WORD": "one"}), ("second", dict(os.environ))):
        assert worker.run(("python", code), tmp_path / word / "log", environment) > 0
    (first, sub), (second, _) = (lines_of(tmp_path / word / "log") for word in ("first", "second"))
    assert first.split()[0] == second.split()[0] != str(os.getpid())
    assert (first.split()[1], second.split()[1], sub) == ("one", "None", "sub")
    assert (tmp_path / "first" / "log").read_text().startswith("$ python ")


def test_a_command_that_fails_is_reported_and_the_next_one_has_a_new_process(worker, tmp_path):
    worker.run(PRINT_PROCESS, tmp_path / "first", os.environ)
    with pytest.raises(UserError, match=r"(?s)failed with exit code 1.*ValueError: no such fold"):
        worker.run(("python", "raise ValueError('no such fold')"), tmp_path / "failing", os.environ)
    with pytest.raises(UserError, match="exit code 3"):
        worker.run(("python", "raise SystemExit(3)"), tmp_path / "ending", os.environ)
    with pytest.raises(UserError, match=r"exit code -9 .*memory"):
        worker.run(("python", "import os; os.kill(os.getpid(), 9)"), tmp_path / "killed", os.environ)
    worker.run(PRINT_PROCESS, tmp_path / "last", os.environ)
    assert lines_of(tmp_path / "first") != lines_of(tmp_path / "last")


def test_an_interruption_stops_the_command(worker, tmp_path):
    class StopError(Exception):
        pass

    def watch():
        if (tmp_path / "log").read_text().count("\n") > 1:
            raise StopError

    with pytest.raises(StopError):
        worker.run(
            ("python", "import os, time; print(os.getpid(), flush=True); time.sleep(3600)"),
            tmp_path / "log",
            os.environ,
            watch,
        )
    assert not is_alive(lines_of(tmp_path / "log")[0])


def test_a_worker_ends_when_it_is_closed(worker, tmp_path):
    worker.run(PRINT_PROCESS, tmp_path / "log", os.environ)
    assert is_alive(lines_of(tmp_path / "log")[0])
    worker.close()
    assert not is_alive(lines_of(tmp_path / "log")[0])


def test_a_command_keeps_its_lock_when_the_benchmark_is_killed_and_frees_it_when_it_is_done(tmp_path):
    lock, log, go_on = tmp_path / "lock", tmp_path / "log", tmp_path / "go_on"
    command = (  # on one line, as lines_of wants it: the log begins with the command
        "import os, pathlib, time; print(os.getpid(), flush=True); "
        f"[time.sleep(0.02) for _ in iter(pathlib.Path({str(go_on)!r}).exists, True)]"
    )
    code = (
        "import os, pathlib, sys\n"
        "from nnunet_pix2rep.benchmark.execution.in_process.worker import NnunetWorker\n"
        "from nnunet_pix2rep.benchmark.execution.inherited_locks import held_lock\n"
        f"with held_lock(pathlib.Path({str(lock)!r})) as file:\n"
        f"    NnunetWorker({PROGRAM!r}).run(('python', {command!r}), pathlib.Path({str(log)!r}), os.environ, "
        "inherited_files=[file])\n"
    )
    benchmark = subprocess.Popen([sys.executable, "-c", code])
    assert wait_until(lambda: log.exists() and lines_of(log))
    benchmark.kill()
    benchmark.wait()
    assert is_held(lock)
    go_on.touch()
    assert wait_until(lambda: not is_held(lock))
    assert wait_until(lambda: not is_alive(lines_of(log)[0]))


def test_a_lock_is_free_between_commands(worker, tmp_path):
    for _ in range(2):
        with held_lock(tmp_path / "lock") as lock:
            worker.run(PRINT_PROCESS, tmp_path / "log", os.environ, inherited_files=[lock])
        assert not is_held(tmp_path / "lock")
