"""Running nnU-Net's command line, and this package's, as sub-processes.

Sub-processes rather than calls: nnU-Net's entry points read ``sys.argv`` and environment variables, start worker
processes and set torch's threads for good. What runs is exactly what a user would type.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import joblib

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.installation import trainers_folder

Command = tuple[str, ...]
"""A program and its arguments. ``python`` is this interpreter, ``nnunet_pix2rep`` this package; others are console
scripts."""

KILLED = -9  # what subprocess reports after SIGKILL
SECONDS_TO_STOP = 10
SECONDS_TO_WATCH = 1
MAX_LINES_SHOWN = 25


def nnunet_environment(root: Path) -> dict[str, str]:
    """The environment of a sub-process for which nnU-Net's folders all lie in ``root``, for trainings on a CPU.

    nnU-Net's variables of the user are left out, so that results do not depend on them.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("nnUNet_")}
    return inherited | {
        **{name: str(root / name) for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results")},
        "nnUNet_extTrainer": str(trainers_folder()),
        "nnUNet_n_proc_DA": "1",
        "nnUNet_def_n_proc": "1",
        "nnUNet_compile": "f",
        # nnU-Net takes as many threads as the machine has cores; Python 3.13 can tell it how many a container may use.
        "PYTHON_CPU_COUNT": str(joblib.cpu_count()),  # knows of the limits of containers and batch systems
        # Threads that spin while they wait take their core from nnU-Net's data loader.
        "OMP_WAIT_POLICY": "PASSIVE",
        "MPLBACKEND": "agg",
        "PYTHONUNBUFFERED": "1",
    }


def shell_text(command: Command) -> str:
    """The command as one would type it."""
    return shlex.join(command)


def run_command(
    command: Command,
    log_file: Path,
    environment: Mapping[str, str],
    watch: Callable[[], None] | None = None,
    inherited_files: Sequence[int] = (),
) -> float:
    """Runs a command, its output in a log file.

    When this process is interrupted, the command and its workers are stopped.

    Args:
        command: The program and its arguments.
        log_file: Gets the command and all that it prints, after what the file holds already.
        environment: All environment variables of the command.
        watch: Called about once a second while the command runs; an exception of it stops the command.
        inherited_files: Open files that the command keeps open (not on Windows), such as a lock that it is to hold
            even if this process is killed.

    Returns:
        Elapsed seconds.

    Raises:
        UserError: the program is not installed, or failed: then with command, exit code and the end of the log.
    """
    arguments = _resolve(command)
    log_file.parent.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    with log_file.open("a", encoding="utf-8") as log:
        print(f"$ {shell_text(command)}", file=log, flush=True)
        # A session of its own, so that the workers of the command can be stopped with it.
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**environment, **same_package()},
            start_new_session=True,
            pass_fds=tuple(inherited_files),
        )
        try:
            exit_code = _wait(process, watch)
        finally:
            if process.poll() is None:
                stop_process(process)
    if exit_code != 0:
        raise failure_of(command, exit_code, log_file)
    return time.perf_counter() - start


def failure_of(command: Command, exit_code: int, log_file: Path) -> UserError:
    """The error of a command that failed, with the end of its log."""
    reason = " (killed from outside, perhaps because memory ran out)" if exit_code == KILLED else ""
    return UserError(
        f"This command failed with exit code {exit_code}{reason}:\n  {shell_text(command)}\n"
        f"The end of its log {log_file}:\n{_last_lines(log_file)}"
    )


def _wait(process: subprocess.Popen, watch: Callable[[], None] | None) -> int:
    if watch is None:
        return process.wait()
    while True:
        try:
            return process.wait(SECONDS_TO_WATCH)
        except subprocess.TimeoutExpired:
            watch()


def same_package() -> dict[str, str]:
    """The environment variable by which a sub-process imports this package from where this process has it.

    ``python -m`` looks into the working directory first, so in a checkout the sub-processes of an installed package
    would run the checkout. Python 3.10 does not know the variable.
    """
    root = Path(__file__).resolve().parents[2]
    return {} if root == Path.cwd() else {"PYTHONSAFEPATH": "1"}


def _resolve(command: Command) -> list[str]:
    program, *arguments = command
    if program == "python":
        return [sys.executable, *arguments]
    if program == "nnunet_pix2rep":
        return [sys.executable, "-m", "nnunet_pix2rep.cli.main", *arguments]
    # The scripts of this interpreter first: another nnU-Net may come first in PATH.
    for scheme in (sysconfig.get_default_scheme(), f"{os.name}_user"):
        script = shutil.which(program, path=sysconfig.get_path("scripts", scheme))
        if script is not None:
            return [script, *arguments]
    script = shutil.which(program)
    if script is None:
        raise UserError(
            f"The program {program} was not found beside {sys.executable} nor in PATH. Install nnU-Net for this "
            f"Python: {sys.executable} -m pip install nnunetv2"
        )
    return [script, *arguments]


def stop_process(process: subprocess.Popen) -> None:
    """Asks a process that leads a session of its own, and its workers, to end; then makes them."""
    _signal_all(process, signal.SIGTERM)
    try:
        process.wait(SECONDS_TO_STOP)
    except subprocess.TimeoutExpired:
        pass
    finally:
        _signal_all(process, getattr(signal, "SIGKILL", signal.SIGTERM))
        process.wait()


def _signal_all(process: subprocess.Popen, number: signal.Signals) -> None:
    if os.name == "nt":
        process.send_signal(number)
        return
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return


def _last_lines(log_file: Path) -> str:
    lines = [line for line in log_file.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return "\n".join(f"  {line}" for line in lines[-MAX_LINES_SHOWN:])
