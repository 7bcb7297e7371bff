"""Doing the runs of a benchmark as jobs of a cluster, by submitit (optional extra ``slurm``).

submitit submits, watches and submits again what ran into its time limit; SLURM decides what runs where and when.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunet_pix2rep.benchmark.design.runs import BenchmarkRun, PlannedCell, Pretraining
from nnunet_pix2rep.benchmark.design.settings import BenchmarkSettings
from nnunet_pix2rep.benchmark.execution.machine import Slot
from nnunet_pix2rep.benchmark.launch.setup import Benchmark, set_up
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json

JOB_FILE = "job.json"
JOBS_FOLDER = "jobs"


@dataclass(frozen=True)
class RunJob:
    """What a job does: sets up the same benchmark, which changes nothing, and does one run of it.

    Attributes:
        path: The benchmark's folder.
        settings: The benchmark.
        run_folder: The run.
        device: ``-device`` of nnU-Net's commands.
    """

    path: Path
    settings: BenchmarkSettings
    run_folder: Path
    device: str

    def __call__(self) -> None:
        """Does the run."""
        benchmark = set_up(self.path, self.settings)
        (run,) = (run for run in benchmark.matrix.runs if run.folder == self.run_folder)
        benchmark.executor.execute(run, Slot(self.device))

    def checkpoint(self) -> Any:
        """submitit's hook at the time limit: the same job again, which goes on from nnU-Net's checkpoint."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def submit(
    benchmark: Benchmark,
    settings: BenchmarkSettings,
    cluster: str,
    parameters: Mapping[str, Any],
    device: str,
) -> dict[BenchmarkRun, str]:
    """Submits all runs that are neither finished nor submitted; cells wait for the job of their pretraining.

    Args:
        benchmark: The benchmark.
        settings: Its settings.
        cluster: ``slurm``, or ``local`` for jobs on this machine.
        parameters: submitit's, such as ``{"slurm_partition": "gpu", "timeout_min": 600, "gpus_per_node": 1}``.
        device: ``-device`` of nnU-Net's commands.

    Returns:
        The runs with the number of their job.

    Raises:
        UserError: submitit is not installed, or there is no such cluster or parameter.
    """
    if importlib.util.find_spec("submitit") is None:
        raise UserError("--cluster needs submitit: pip install 'nnunet_pix2rep[slurm]'")
    folder = benchmark.folder.path / JOBS_FOLDER
    jobs: dict[BenchmarkRun, str] = {}
    for run in benchmark.matrix.runs:
        if run.is_finished:
            continue
        number = _job_under_way(run, folder, cluster)
        if number is None:
            job = RunJob(benchmark.folder.path, settings, run.folder, device)
            number = _submit_one(
                job, run, parameters=_with_dependency(parameters, run, jobs, cluster), folder=folder, cluster=cluster
            )
        jobs[run] = number
    return jobs


def _submit_one(job: RunJob, run: BenchmarkRun, parameters: Mapping[str, Any], folder: Path, cluster: str) -> str:
    import submitit

    executor = submitit.AutoExecutor(folder=folder, cluster=cluster)
    try:
        executor.update_parameters(name=run.folder.name, **parameters)
    except (NameError, TypeError, ValueError) as error:
        raise UserError(f"--cluster-options: {error}") from error
    submitted = executor.submit(job)
    write_json({"job_id": submitted.job_id, "cluster": cluster}, run.folder / JOB_FILE)
    if cluster == "local" and isinstance(run, Pretraining):
        submitted.result()  # only SLURM knows of dependencies
    return submitted.job_id


def _with_dependency(
    parameters: Mapping[str, Any], run: BenchmarkRun, jobs: Mapping[BenchmarkRun, str], cluster: str
) -> dict[str, Any]:
    """The parameters, and for SLURM the jobs of the pretrainings that must have ended well."""
    needed = run.prerequisites if isinstance(run, PlannedCell) else ()
    waited_for = [jobs[pretraining] for pretraining in needed if pretraining in jobs]
    if cluster != "slurm" or not waited_for:
        return dict(parameters)
    name = "slurm_additional_parameters"
    return {**parameters, name: {**parameters.get(name, {}), "dependency": f"afterok:{':'.join(waited_for)}"}}


def _job_under_way(run: BenchmarkRun, folder: Path, cluster: str) -> str | None:
    """The job that was submitted for a run and has not ended, or None."""
    import submitit

    file = run.folder / JOB_FILE
    if not file.is_file():
        return None
    record = read_json(file)
    if record["cluster"] != cluster:
        return None
    job_class = {"slurm": submitit.SlurmJob, "local": submitit.LocalJob}[cluster]
    job = job_class(folder, record["job_id"])
    return None if job.done() else record["job_id"]
