"""``nnunet_pix2rep benchmark``: methods against each other, by numbers of labeled patients and draws of them."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nnunet_pix2rep.cli.measure.benchmark_options import add_arguments

if TYPE_CHECKING:
    from nnunet_pix2rep.benchmark.design.settings import BenchmarkSettings
    from nnunet_pix2rep.benchmark.launch.setup import Benchmark

__all__ = ["HELP", "add_arguments", "run"]
HELP = "Compare pretraining methods with nnU-Net from scratch, by labeled patients and draws; table, tests and plots."


def run(arguments: argparse.Namespace) -> int:
    """Runs, resumes, submits, prints or reports; returns 1 where a run failed."""
    from nnunet_pix2rep.benchmark.execution.evaluation import NO_SURFACE_METRICS, has_surface_metrics
    from nnunet_pix2rep.benchmark.execution.machine import make_slots, slot_elsewhere
    from nnunet_pix2rep.benchmark.launch.dry_run import commands_text
    from nnunet_pix2rep.benchmark.launch.setup import set_up
    from nnunet_pix2rep.errors import UserError

    if arguments.report_only:
        return _report(arguments)
    for name in ("d", "c"):
        if getattr(arguments, name) is None:
            raise UserError(f"-{name} is missing; only --report-only goes without it.")
    is_elsewhere = arguments.cluster is not None or arguments.dry_run
    if arguments.dry_run and arguments.budget is not None:
        raise UserError("--dry-run prints commands alone, but --budget also chooses and preprocesses slices first.")
    if is_elsewhere and arguments.in_process:
        raise UserError("--in-process is for runs on this machine; leave it out with --cluster and --dry-run.")
    slots = (
        [] if is_elsewhere else make_slots(arguments.device, arguments.jobs, arguments.devices, arguments.in_process)
    )
    settings = _settings(arguments)
    benchmark = set_up(arguments.o, settings)
    _describe(benchmark)
    if not has_surface_metrics():
        print(NO_SURFACE_METRICS)
    if arguments.dry_run:
        print(commands_text(benchmark, slot_elsewhere(arguments.device)))
        return 0
    if arguments.cluster is not None:
        has_submitted = _submit(arguments, benchmark, settings, slot_elsewhere(arguments.device).device)
        return 0 if has_submitted else _report(arguments)
    failed = _run_here(benchmark, slots)
    return max(_report(arguments), int(failed))


def _settings(arguments: argparse.Namespace) -> BenchmarkSettings:
    from nnunet_pix2rep.benchmark.design.settings import BenchmarkSettings
    from nnunet_pix2rep.errors import UserError
    from nnunet_pix2rep.nnunet.data.dataset_folders import dataset_name_of

    if arguments.test is not None and arguments.test_patients is not None:
        raise UserError("--test draws patients or names a folder, --test-patients names patients: give one of them.")
    given = {
        "methods": arguments.methods and tuple(arguments.methods),
        "shots": arguments.shots and tuple(arguments.shots),
        "seeds": 1 if arguments.seeds is None and arguments.train_patients else arguments.seeds,
        "train_patients": arguments.train_patients and tuple(arguments.train_patients),
        "budgets": arguments.budget and tuple(arguments.budget),
        "selectors": arguments.select and tuple(arguments.select),
        "iterations": arguments.iterations,
        "pretraining_iterations": arguments.pretraining_iterations,
        "test": arguments.test if arguments.test_patients is None else tuple(arguments.test_patients),
        "split_seed": arguments.seed,
        "patient_regex": arguments.patient_regex,
        "pretraining_per_seed": arguments.pretraining_per_seed,
        "surface_tolerance": arguments.surface_tolerance,
    }
    return BenchmarkSettings(
        dataset_name_of(arguments.d),
        arguments.c,
        arguments.p,
        **{name: value for name, value in given.items() if value is not None},
    )


def _describe(benchmark: Benchmark) -> None:
    matrix, lengths = benchmark.matrix, benchmark.plans.lengths
    finished = sum(run.is_finished for run in matrix.runs)
    patients = benchmark.executor.test_set.patients
    print(f"Benchmark in {benchmark.folder.path}")
    print(f"Test set: {len(set(patients.values()))} patients, {len(patients)} cases")
    print(
        f"{len(matrix.cells)} cells and {len(matrix.pretrainings)} pretraining(s), {finished} finished before; "
        f"{lengths.finetuning.iterations} iterations of fine-tuning, {lengths.pretraining.iterations} of pretraining"
    )
    for cell in matrix.cells:
        if cell.impossible is not None:
            print(f"Left out: {cell.title}: {cell.impossible}")


def _submit(arguments: argparse.Namespace, benchmark: Benchmark, settings: BenchmarkSettings, device: str) -> bool:
    """Submits what is left; returns whether that was anything."""
    from nnunet_pix2rep.benchmark.launch.cluster import submit

    jobs = submit(
        benchmark, settings, cluster=arguments.cluster, parameters=_parameters(arguments.cluster_options), device=device
    )
    for one, number in jobs.items():
        print(f"job {number}: {one.title}")
    if jobs:
        print("Repeat this command when these jobs are done: it submits what is missing, or writes the report.")
    return bool(jobs)


def _parameters(options: list[str]) -> dict[str, object]:
    import json

    from nnunet_pix2rep.errors import UserError

    parameters = {}
    for option in options:
        name, separator, value = option.partition("=")
        if not (name and separator):
            raise UserError(f"--cluster-options {option!r} is not of the form NAME=VALUE.")
        try:
            parameters[name] = json.loads(value)
        except json.JSONDecodeError:
            parameters[name] = value
    return parameters


def _run_here(benchmark: Benchmark, slots: list) -> bool:
    """Runs on this machine; SIGTERM stops the commands that run at the time, as Ctrl+C does."""
    import signal
    import sys

    from nnunet_pix2rep.benchmark.launch.local_runner import Runner

    previous = signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    try:
        failures = Runner(benchmark, slots).run()
    finally:
        signal.signal(signal.SIGTERM, previous)
    for one, reason in failures.items():
        print(f"FAILED: {one.title}: {reason.splitlines()[0]} See {one.log_file}", file=sys.stderr)
    if failures:
        print(f"{len(failures)} run(s) failed. The same command tries them again.", file=sys.stderr)
    return bool(failures)


def _report(arguments: argparse.Namespace) -> int:
    from nnunet_pix2rep.benchmark.report.numbers.analysis import ReportSettings, default_reference
    from nnunet_pix2rep.benchmark.report.write import write_report
    from nnunet_pix2rep.benchmark.schema import BENCHMARK_FILE
    from nnunet_pix2rep.files import read_json

    reference = arguments.reference or default_reference(read_json(arguments.o / BENCHMARK_FILE)["methods"])
    settings = ReportSettings(reference=reference)
    print(f"Report: {write_report(arguments.o, settings, with_images=not arguments.no_images)}")
    return 0
