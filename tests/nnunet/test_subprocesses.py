import os
import signal
import subprocess
import sys
import time

import pytest

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.installation import trainers_folder
from nnunet_pix2rep.nnunet.subprocesses import nnunet_environment, run_command, shell_text


def python(code):
    return ("python", "-c", code)


def test_output_and_errors_go_to_the_log(tmp_path):
    log = tmp_path / "logs" / "stage.log"
    seconds = run_command(python("import sys; print('out'); print('err', file=sys.stderr)"), log, os.environ)
    assert seconds > 0
    lines = log.read_text().splitlines()
    assert lines[0].startswith("$ python -c")
    assert sorted(lines[1:]) == ["err", "out"]


def test_several_commands_share_a_log(tmp_path):
    for word in ("first", "second"):
        run_command(python(f"print('{word}')"), tmp_path / "log", os.environ)
    assert [line for line in (tmp_path / "log").read_text().splitlines() if line[0] != "$"] == ["first", "second"]


def test_a_failure_names_command_exit_code_and_end_of_the_log(tmp_path):
    code = "import sys; [print('line', number) for number in range(100)]; sys.exit('out of memory')"
    with pytest.raises(UserError) as error:
        run_command(python(code), tmp_path / "log", os.environ)
    message = str(error.value)
    assert "exit code 1" in message
    assert shell_text(python(code)) in message
    assert str(tmp_path / "log") in message
    assert "out of memory" in message
    assert "line 99" in message
    assert "line 50\n" not in message


def test_a_missing_program_is_named(tmp_path):
    with pytest.raises(UserError, match="nnUNetv2_missing was not found"):
        run_command(("nnUNetv2_missing",), tmp_path / "log", os.environ)


def test_the_scripts_of_this_interpreter_need_not_be_in_the_path(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    run_command(("nnunet_pix2rep", "--version"), tmp_path / "log", os.environ)
    assert "nnunet_pix2rep 0" in (tmp_path / "log").read_text()


def test_the_environment_is_independent_of_the_users(tmp_path, monkeypatch):
    monkeypatch.setenv("nnUNet_results", "/elsewhere")
    monkeypatch.setenv("nnUNet_wandb_enabled", "1")
    before = dict(os.environ)
    environment = nnunet_environment(tmp_path)
    assert os.environ == before
    assert environment["nnUNet_results"] == str(tmp_path / "nnUNet_results")
    assert environment["nnUNet_extTrainer"] == str(trainers_folder())
    assert "nnUNet_wandb_enabled" not in environment
    assert environment["PATH"] == before["PATH"]


@pytest.mark.skipif(os.name == "nt", reason="process groups are POSIX")
def test_an_interruption_stops_the_command_and_its_workers(tmp_path):
    beat = tmp_path / "beat"
    worker = (
        f"import pathlib, time\nwhile True: pathlib.Path({str(beat)!r}).write_text(str(time.time())); time.sleep(0.05)"
    )
    command = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {worker!r}])"
    code = (
        "import os, pathlib, sys, signal\n"
        "from nnunet_pix2rep.nnunet.subprocesses import run_command\n"
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))\n"
        f"run_command(('python', '-c', {command!r}), pathlib.Path({str(tmp_path / 'log')!r}), os.environ)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 300
    while not beat.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert beat.exists()
    process.send_signal(signal.SIGTERM)
    assert process.wait(300) == 143
    last = beat.read_text()
    time.sleep(0.3)
    assert beat.read_text() == last


def test_a_watch_is_called_and_can_stop_the_command(tmp_path):
    class StopError(Exception):
        pass

    calls = []

    def watch():
        calls.append(None)
        if len(calls) == 2:
            raise StopError

    with pytest.raises(StopError):
        run_command(python("import time; time.sleep(3600)"), tmp_path / "log", os.environ, watch)


@pytest.mark.skipif(os.name == "nt", reason="files are inherited on POSIX")
def test_a_command_keeps_an_inherited_file_open(tmp_path):
    with (tmp_path / "file").open("w") as file:
        code = f"import os; os.write({file.fileno()}, b'written')"
        run_command(python(code), tmp_path / "log", os.environ, inherited_files=[file.fileno()])
    assert (tmp_path / "file").read_text() == "written"


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX")
def test_a_command_that_was_killed_is_told_from_one_that_failed(tmp_path):
    code = "import os; os.kill(os.getpid(), 9)"
    with pytest.raises(UserError, match=r"exit code -9 .*memory"):
        run_command(python(code), tmp_path / "log", os.environ)


@pytest.mark.skipif(sys.version_info < (3, 11), reason="PYTHONSAFEPATH is of Python 3.11")
def test_another_package_of_this_name_in_the_working_directory_is_not_run(tmp_path, monkeypatch):
    (tmp_path / "nnunet_pix2rep").mkdir()
    (tmp_path / "nnunet_pix2rep" / "__init__.py").write_text("raise RuntimeError('a checkout beside the user')")
    monkeypatch.chdir(tmp_path)
    run_command(("nnunet_pix2rep", "trainers"), tmp_path / "log", os.environ)
    assert (tmp_path / "log").read_text().splitlines()[-1] == str(trainers_folder())
