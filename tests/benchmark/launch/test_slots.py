"""Commands side by side: each in a slot of its own."""

import time

from fake_nnunet import FakeNnunet, status_of

from nnunet_pix2rep.benchmark.execution.machine import Slot
from nnunet_pix2rep.benchmark.launch.local_runner import Runner


def wait_until(condition):
    """Holds a command until the others are so far; fails where they never are."""
    deadline = time.monotonic() + 300
    while not condition():
        assert time.monotonic() < deadline, "the other slot does nothing"
        time.sleep(0.02)


def test_jobs_run_at_the_same_time_but_cells_wait_for_their_pretraining(make, fake):
    fake.wait = lambda _command, _watch: wait_until(lambda: fake.most_at_once == 2)
    Runner(make(shots=(1, 2), methods=("pix2rep", "scratch")), [Slot("cpu", None, 2)] * 2).run()
    assert fake.most_at_once == 2
    pretraining = fake.trainers().index("nnUNetTrainerPix2RepPretrain")
    assert pretraining < fake.trainers().index("nnUNetTrainerPix2RepFinetune")


def test_cells_that_need_no_pretraining_are_trained_beside_it(make, fake):
    """Its place is busy until all of them are done, in the other place."""
    benchmark = make(shots=(1, 2), methods=("pix2rep", "scratch"))
    scratch = [cell for cell in benchmark.matrix.cells if cell.pretraining is None]

    def wait(command, _watch):
        if "Pretrain" in str(command):
            wait_until(lambda: all(cell.is_finished for cell in scratch))

    fake.wait = wait
    assert Runner(benchmark, [Slot("cuda", "0", 2)] * 2).run() == {}
    # The two places start at the same time: which of them is noted first is chance.
    assert "nnUNetTrainerPix2RepPretrain" in fake.trainers()[:2]
    assert fake.trainers()[-2:] == ["nnUNetTrainerPix2RepFinetune"] * 2


def test_gpus_are_given_out_one_for_each_job(make, fake):
    fake.wait = lambda _command, _watch: wait_until(lambda: fake.most_at_once == 2)
    Runner(make(methods=("scratch",), shots=(1, 2), seeds=2), [Slot("cuda", name, 2) for name in ("0", "3")]).run()
    assert {environment["CUDA_VISIBLE_DEVICES"] for environment in fake.environments} == {"0", "3"}
    assert all("cuda" in command for command in fake.commands)


class FakeWorker:
    """Stands for a process that does all commands of a slot."""

    def __init__(self, made):
        self.fake = FakeNnunet()
        self.closed = False
        made.append(self)

    def run(self, *arguments):
        assert not self.closed
        return self.fake(*arguments)

    def close(self):
        self.closed = True


def test_each_slot_has_a_process_of_its_own_which_ends_with_the_benchmark(make, fake, monkeypatch):
    made = []
    monkeypatch.setattr("nnunet_pix2rep.benchmark.launch.local_runner.NnunetWorker", lambda: FakeWorker(made))
    benchmark = make(methods=("scratch", "pix2rep"), shots=(1, 2), seeds=2)
    runner = Runner(benchmark, [Slot("cpu", None, 2, in_process=True)] * 2)
    for worker in made:
        worker.fake.wait = lambda _command, _watch: time.sleep(0.1)
    assert runner.run() == {}
    assert set(status_of(benchmark).values()) == {"finished"}
    assert fake.commands == []
    assert [worker.fake.most_at_once for worker in made] == [1, 1]
    assert sum(len(worker.fake.commands) for worker in made) == 1 + 2 * 4
    assert all(worker.closed for worker in made)
    Runner(make(methods=("scratch", "pix2rep"), shots=(1, 2), seeds=2), [Slot("cpu")]).run()
    assert fake.commands == []  # whoever did them, they are done
