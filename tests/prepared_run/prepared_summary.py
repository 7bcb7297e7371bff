"""``summary.md`` of what the steps have found so far."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from nnunet_pix2rep.speed.summary import summary_lines


def summary_of(card: str, versions: Mapping[str, str], found: Mapping[str, Mapping[str, Any]]) -> str:
    """The text.

    Args:
        card: Name of the card.
        versions: Package -> version.
        found: Step -> what it found, in the order of the steps.
    """
    lines = [
        f"# The prepared run on {card}",
        "",
        ", ".join(f"{name} {number}" for name, number in versions.items()),
        "",
    ]
    lines += ["| step | ended | seconds | card busy | memory of the card |", "| --- | --- | --- | --- | --- |"]
    for step, result in found.items():
        busy = f"{result['card_busy_percent']} %" if "card_busy_percent" in result else ""
        memory = f"{result['card_memory_mib'] / 1024:.1f} GiB" if "card_memory_mib" in result else ""
        lines.append(f"| {step} | {result['status']} | {result['seconds']} | {busy} | {memory} |")
    for step, result in found.items():
        if step in SECTIONS:
            lines += ["", f"## {step.capitalize()}", "", *SECTIONS[step](result)]
    return "\n".join(lines) + "\n"


def _prepare(result: Mapping[str, Any]) -> Iterator[str]:
    for name, plan in result.get("plans", {}).items():
        yield f"- {name}: patch {plan['patch_size']}, batch {plan['batch_size']}, spacing {plan['spacing']} mm"


def _tests(result: Mapping[str, Any]) -> Iterator[str]:
    if "tests" not in result:
        yield f"pytest wrote no result (exit code {result['exit_code']})."
        return
    failed = result["failures"] + result["errors"]
    yield f"{result['tests'] - failed - result['skipped']} passed, {failed} failed, {result['skipped']} skipped."
    yield from (f"- failed: {name}" for name in result["failed"])


def _speed(result: Mapping[str, Any]) -> Iterator[str]:
    measured = result["measured"]
    if measured is None:
        yield "Nothing was measured."
        return
    yield from ("All figures are in speed.json.", "")
    yield "```"
    for part in measured["settings"]["parts"]:
        if part in measured:
            yield from summary_lines(part, measured[part])
    yield "```"


def _pretraining(result: Mapping[str, Any]) -> Iterator[str]:
    before, after = result["epochs"]
    yield f"- Steps per second, median over epochs of {result['steps_per_epoch']}: {result['steps_per_second']}"
    yield f"- Epochs before SIGTERM: {before}; after it, by --c: {after}; exit codes {result['exit_codes']}"
    yield f"- Saved on SIGTERM: {result['saved_on_sigterm']}"
    yield f"- --c went on in the epoch that was cut: {result['went_on_in_the_epoch_that_was_cut']}"


def _trainings(result: Mapping[str, Any]) -> Iterator[str]:
    yield (
        f"{result['at_a_time']} at a time, {result['iterations']} iterations, {result['pretraining_iterations']} of "
        f"pretraining where there is one. {result['budget']} slices, spread over the patients."
    )
    arms = result.get("arms", [])
    if arms:
        yield from ("", "| | mean Dice | draws |", "| --- | --- | --- |")
    yield from (f"| {arm['arm']} | {arm['dice']:.3f} | {arm['draws']} |" for arm in arms)
    finished = [run for run in result.get("runs", []) if run["status"] == "finished"]
    if finished:
        seconds = sorted(float(run["seconds_training"]) for run in finished)
        yield ""
        yield f"{len(finished)} of {len(result['runs'])} trainings finished in {seconds[0]:.0f} to {seconds[-1]:.0f} s."


SECTIONS = {"prepare": _prepare, "tests": _tests, "speed": _speed, "pretraining": _pretraining, "trainings": _trainings}
