"""The commands of a benchmark as text, for a cluster's own scripts."""

from __future__ import annotations

import shlex

from nnunet_pix2rep.benchmark.execution.machine import Slot
from nnunet_pix2rep.benchmark.launch.setup import Benchmark
from nnunet_pix2rep.nnunet.subprocesses import shell_text


def commands_text(benchmark: Benchmark, slot: Slot) -> str:
    """All commands that are left, each run with the variables that it needs beside the user's own."""
    lines = [
        "",
        "# Pretrainings first; then the rest in any order. Afterwards run the benchmark, which evaluates them.",
    ]
    for run in benchmark.matrix.runs:
        commands = benchmark.executor.commands_left(run, slot)
        if not commands:
            continue
        variables = benchmark.executor.variables(run, slot)
        lines += ["", f"# {run.title}"]
        lines.append("export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in variables.items()))
        lines += [shell_text(command) for command in commands]
    return "\n".join(lines)
