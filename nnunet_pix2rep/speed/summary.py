"""What the command prints: a line for each ratio, and a table of the pretrainings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

VIEWS_ON_GPU_RULE = (
    "Making the views on the GPU would pay if and only if the loader is what limits an H100 with 16 cores: if more "
    "worker processes are needed than there are cores."
)
COLUMNS = (
    "plan",
    "compiled",
    "batch",
    "step s",
    "steps/s",
    "hours",
    "GB",
    "step/bare",
    "waited s",
    "waited",
    "workers needed",
)


def summary_lines(part: str, result: Any) -> list[str]:
    """The ratios of one part, a line each; the rows of the pretrainings as a table."""
    if part in ("pretraining", "pretraining_compiled"):
        return pretraining_table(result) if result else []
    if part == "step_overhead":
        return [
            f"step_overhead  {item['loss']:<28} step / bare network          {item['ratio']:8.3f}" for item in result
        ]
    if part == "head_and_loss":
        return [
            f"head_and_loss  {item['features']}, {item['loss']}: dense / sampled time {item['speed_up']:.1f}, "
            f"sampled / dense memory {item['memory_ratio']:.3f}"
            for item in result
        ]
    if part == "loader":
        return [
            f"loader         {result['workers']} workers: views per second, ours / nnU-Net's {result['ratio']:8.3f}"
        ]
    if part == "fine_tuning":
        return [f"fine_tuning    epoch, ours / stock trainer's {result['ratio']:8.3f}"]
    return [
        f"scaling        {item['loss']}, against {item['against']}: time ^{item['time_exponent']:.2f}, "
        f"memory ^{item['memory_exponent']:.2f}"
        for item in result
    ]


def pretraining_table(rows: Sequence[dict[str, Any]]) -> list[str]:
    """An aligned table. Memory is that of a step with weights and optimizer; hours are those of the whole pretraining;
    ``waited`` is what a step waits for the loader, in seconds and as part of the step.
    """
    lines = [COLUMNS, *[_cells(row) for row in rows]]
    widths = [max(len(cell) for cell in column) for column in zip(*lines, strict=True)]
    return ["  ".join([line[0].ljust(widths[0]), *map(str.rjust, line[1:], widths[1:])]) for line in lines]


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    loader = row["loader"]
    return (
        row["plan"],
        "yes" if row["compiled"] else "no",
        f"{row['batch_size']} x {' x '.join(map(str, row['patch']))}",
        f"{row['seconds']['step']:.3f}",
        f"{row['steps_per_second']:.2f}",
        f"{row['hours']:.1f}",
        f"{(row['model_bytes'] + row['peak_bytes']['step']) / 1e9:.1f}",
        "" if row["ratio"] is None else f"{row['ratio']:.2f}",
        f"{loader['seconds_waited_per_step']:.3f}",
        f"{loader['share']:.0%} ({loader['workers']} workers)",
        f"{loader['workers_needed']} of {loader['cores']} cores",
    )


def views_on_gpu(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The rule by which the views are made on the GPU or not, and what the measured pretrainings say to it."""
    limited = {f"{row['plan']}{', compiled' if row['compiled'] else ''}": row["loader"]["limits"] for row in rows}
    return {"rule": VIEWS_ON_GPU_RULE, "loader_limits": limited}


def views_on_gpu_lines(decision: dict[str, Any], device_name: str) -> list[str]:
    """The rule and the verdict on this machine."""
    limited = [name for name, limits in decision["loader_limits"].items() if limits]
    verdict = f"the loader limits {'; '.join(limited)}" if limited else "the loader limits none of these pretrainings"
    return [decision["rule"], f"On this machine ({device_name}) {verdict}."]
