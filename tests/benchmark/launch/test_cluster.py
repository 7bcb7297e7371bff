import pickle
import types

import pytest
from fake_nnunet import FakeNnunet

from nnunet_pix2rep.benchmark.execution import executor
from nnunet_pix2rep.benchmark.launch import cluster
from nnunet_pix2rep.benchmark.launch.cluster import RunJob, submit
from nnunet_pix2rep.benchmark.launch.setup import set_up
from nnunet_pix2rep.errors import UserError

submitit = pytest.importorskip("submitit")


class Recorder:
    """In the place of submitit's AutoExecutor; jobs are recorded and stay in the queue."""

    submitted: list
    ended: set

    def __init__(self, folder, cluster):
        self.parameters = {}

    def update_parameters(self, **parameters):
        if "nonsense" in parameters:
            raise NameError("Unknown argument 'nonsense'")
        self.parameters = parameters

    def submit(self, job):
        type(self).submitted.append((job, self.parameters))
        return types.SimpleNamespace(job_id=str(len(self.submitted)))


@pytest.fixture
def queue(monkeypatch):
    Recorder.submitted, Recorder.ended = [], set()
    monkeypatch.setattr(submitit, "AutoExecutor", Recorder)
    monkeypatch.setattr(
        submitit, "SlurmJob", lambda folder, number: types.SimpleNamespace(done=lambda: number in Recorder.ended)
    )
    return Recorder


@pytest.fixture
def make(dataset, settings, tmp_path):
    def run(parameters=None, **changes):
        asked = settings(**changes)
        benchmark = set_up(tmp_path / "out", asked)
        return submit(benchmark, asked, "slurm", parameters or {}, "cuda")

    return run


def test_every_run_is_a_job_and_cells_depend_on_their_pretraining(make, queue):
    jobs = make({"slurm_partition": "gpu", "slurm_additional_parameters": {"qos": "high"}})
    assert list(jobs.values()) == ["1", "2", "3"]
    pretraining, scratch, pix2rep = (parameters for _, parameters in queue.submitted)
    assert {parameters["slurm_partition"] for parameters in (pretraining, scratch, pix2rep)} == {"gpu"}
    assert pix2rep["slurm_additional_parameters"] == {"qos": "high", "dependency": "afterok:1"}
    assert scratch["slurm_additional_parameters"] == {"qos": "high"}


def test_what_is_in_the_queue_is_not_submitted_twice(make, queue):
    make()
    assert list(make().values()) == ["1", "2", "3"]
    assert len(queue.submitted) == 3
    queue.ended = {"2"}
    make()
    assert len(queue.submitted) == 4


def test_a_job_does_its_run(make, queue, monkeypatch):
    fake = FakeNnunet()
    monkeypatch.setattr(executor, "run_command", fake)
    jobs = make()
    for job, _ in queue.submitted:
        pickle.loads(pickle.dumps(job))()
    assert len(fake.commands) == 3
    assert all(run.is_finished for run in jobs)
    assert make() == {}


def test_a_job_at_its_time_limit_is_submitted_again(make, queue):
    make()
    job = queue.submitted[0][0]
    assert isinstance(job, RunJob)
    assert job.checkpoint().function is job


def test_unknown_parameters_are_refused(make, queue):
    with pytest.raises(UserError, match="--cluster-options: Unknown argument 'nonsense'"):
        make({"nonsense": 1})


def test_without_submitit_it_says_what_to_install(make, monkeypatch):
    monkeypatch.setattr(cluster.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install 'nnunet_pix2rep\[slurm\]'"):
        make()
