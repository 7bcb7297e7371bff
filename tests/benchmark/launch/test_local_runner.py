import csv
import os
import shutil
import time

import pytest
import torch
from fake_nnunet import FakeNnunet
from tiny_training import CASES, DATASET

from nnunet_pix2rep.benchmark.design.runs import next_training_command, put_damaged_checkpoints_aside
from nnunet_pix2rep.benchmark.execution import executor
from nnunet_pix2rep.benchmark.execution.executor import Executor
from nnunet_pix2rep.benchmark.execution.inherited_locks import held_lock
from nnunet_pix2rep.benchmark.execution.machine import Slot
from nnunet_pix2rep.benchmark.launch.local_runner import Runner
from nnunet_pix2rep.benchmark.launch.setup import set_up
from nnunet_pix2rep.benchmark.schema import RESULT_COLUMNS
from nnunet_pix2rep.files import read_json, write_json

CPU = Slot("cpu")


@pytest.fixture
def fake(monkeypatch):
    fake = FakeNnunet()
    monkeypatch.setattr(executor, "run_command", fake)
    return fake


@pytest.fixture
def make(dataset, settings, tmp_path):
    return lambda **changes: set_up(tmp_path / "out", settings(**changes))


def rows_of(file):
    with file.open(encoding="utf-8", newline="") as opened:
        return list(csv.DictReader(opened))


def status_of(benchmark):
    return {(row["method"], row["shots"], row["seed"]): row["status"] for row in rows_of(benchmark.folder.runs_file)}


def test_a_whole_matrix(make, fake):
    benchmark = make(shots=(1, 2), seeds=2)
    assert Runner(benchmark, [CPU]).run() == {}
    assert fake.trainers()[0] == "nnUNetTrainerPix2RepPretrain"
    assert len(fake.commands) == 1 + 2 * 4
    assert fake.most_at_once == 1
    rows = rows_of(benchmark.folder.results_file)
    assert tuple(rows[0]) == RESULT_COLUMNS
    assert len(rows) == 8 * 2 * 2  # cells, cases, classes
    assert {row["dice"] for row in rows} == {"1.0"}
    for row in rows:
        folder = benchmark.folder.path / row["run_folder"]
        assert (folder / "predictions" / f"{row['case']}.nii.gz").is_file()
        assert (folder / "summary.json").is_file()
        assert (folder / "commands.txt").read_text().startswith("nnUNetv2_train")
    runs = rows_of(benchmark.folder.runs_file)
    assert {row["status"] for row in runs} == {"finished"}
    assert {bool(row["seconds_pretraining"]) for row in runs if row["method"] == "pix2rep"} == {True}
    assert {row["seconds_pretraining"] for row in runs if row["method"] == "scratch"} == {""}


def test_what_is_finished_is_never_run_again(make, fake):
    benchmark = make()
    Runner(benchmark, [CPU]).run()
    results = benchmark.folder.results_file.read_bytes()
    fake.commands.clear()
    assert Runner(make(), [CPU]).run() == {}
    assert fake.commands == []
    assert benchmark.folder.results_file.read_bytes() == results
    Runner(make(seeds=2), [CPU]).run()
    assert len(fake.commands) == 2


def test_a_cell_of_one_method_does_not_see_the_folder_of_another(make, fake):
    Runner(make(methods=("pix2rep", "masked_autoencoder")), [CPU]).run()
    results = [environment["nnUNet_results"] for environment in fake.environments]
    assert len(set(results)) == 4


def test_jobs_run_at_the_same_time_but_cells_wait_for_their_pretraining(make, fake):
    fake.wait = lambda command, _watch: time.sleep(0.3)
    Runner(make(shots=(1, 2), methods=("pix2rep", "scratch")), [Slot("cpu", None, 2)] * 2).run()
    assert fake.most_at_once == 2
    pretraining = fake.trainers().index("nnUNetTrainerPix2RepPretrain")
    assert pretraining < fake.trainers().index("nnUNetTrainerPix2RepFinetune")


def test_cells_that_need_no_pretraining_are_trained_beside_it(make, fake):
    """Its place is busy until all of them are done, in the other place."""
    benchmark = make(shots=(1, 2), methods=("pix2rep", "scratch"))
    scratch = [cell for cell in benchmark.matrix.cells if cell.pretraining is None]
    deadline = time.monotonic() + 120

    def wait(command, _watch):
        while "Pretrain" in str(command) and not all(cell.is_finished for cell in scratch):
            assert time.monotonic() < deadline, "they wait for the pretraining"
            time.sleep(0.2)

    fake.wait = wait
    assert Runner(benchmark, [Slot("cuda", "0", 2)] * 2).run() == {}
    # The two places start at the same time: which of them is noted first is chance.
    assert "nnUNetTrainerPix2RepPretrain" in fake.trainers()[:2]
    assert fake.trainers()[-2:] == ["nnUNetTrainerPix2RepFinetune"] * 2


def test_gpus_are_given_out_one_for_each_job(make, fake):
    fake.wait = lambda command, _watch: time.sleep(0.2)
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
    Runner(make(methods=("scratch", "pix2rep"), shots=(1, 2), seeds=2), [CPU]).run()
    assert fake.commands == []  # whoever did them, they are done


def test_a_failure_stops_nothing_but_what_needs_it(make, fake):
    fake.failing = {"nnUNetTrainerPix2RepPretrain"}
    benchmark = make()
    failures = Runner(benchmark, [CPU]).run()
    assert {run.title.split(",")[0] for run in failures} == {"pretraining nnUNetTrainerPix2RepPretrain", "pix2rep"}
    assert status_of(benchmark) == {("scratch", "1", "0"): "finished", ("pix2rep", "1", "0"): "waiting"}
    assert read_json(benchmark.matrix.pretrainings[0].folder / "run.json")["message"].endswith("failed")
    fake.failing = {"nnUNetTrainerPix2RepFinetune"}
    Runner(make(), [CPU]).run()
    assert status_of(benchmark) == {("scratch", "1", "0"): "finished", ("pix2rep", "1", "0"): "failed"}
    fake.failing = set()
    assert Runner(make(), [CPU]).run() == {}
    assert set(status_of(benchmark).values()) == {"finished"}


def test_an_interruption_stops_the_commands_and_leaves_the_rest_to_later(make, fake, monkeypatch):
    stopped = []

    def wait(command, watch):
        try:
            while True:
                watch()
                time.sleep(0.05)
        except BaseException:
            stopped.append(command)
            raise

    fake.wait = wait
    benchmark = make(methods=("scratch",))
    runner = Runner(benchmark, [CPU])
    update = runner._progress.update

    def interrupt(*state):
        update(*state)
        if fake.commands:
            raise KeyboardInterrupt

    monkeypatch.setattr(runner._progress, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        runner.run()
    assert stopped == fake.commands
    make(methods=("scratch",))
    assert status_of(benchmark) == {("scratch", "1", "0"): "interrupted"}
    assert rows_of(benchmark.folder.results_file) == []
    fake.wait = None
    assert Runner(make(methods=("scratch",)), [CPU]).run() == {}
    (cell,) = benchmark.matrix.cells
    assert len(cell.record["attempts"]) == 2


def save(run, name):
    run.output_folder.mkdir(parents=True, exist_ok=True)
    torch.save({"network_weights": {}}, run.output_folder / name)


def test_a_training_goes_on_from_what_is_there(make):
    benchmark = make()
    scratch, pix2rep = benchmark.matrix.cells
    fresh = next_training_command(pix2rep, "cpu")
    assert fresh[-2:] == ("-pretrained_weights", str(benchmark.matrix.pretrainings[0].final_checkpoint))
    save(pix2rep, "checkpoint_best.pth")
    assert next_training_command(pix2rep, "cpu") == fresh  # it was chosen by the validation set
    save(pix2rep, "checkpoint_latest.pth")
    assert next_training_command(pix2rep, "cpu") == (*fresh[:-2], "--c")
    save(pix2rep, "checkpoint_final.pth")
    assert next_training_command(pix2rep, "cpu") == (*fresh[:-2], "--val")
    write_json({}, pix2rep.validation / "summary.json")
    assert next_training_command(pix2rep, "cpu") is None
    assert "-pretrained_weights" not in next_training_command(scratch, "cpu")


def test_half_a_checkpoint_is_put_aside(make):
    (cell,) = make(methods=("scratch",)).matrix.cells
    for name in ("checkpoint_latest.pth", "checkpoint_final.pth"):
        save(cell, name)
    cell.final_checkpoint.write_bytes(cell.final_checkpoint.read_bytes()[:100])
    put_damaged_checkpoints_aside(cell)
    assert next_training_command(cell, "cpu")[-1] == "--c"
    latest = cell.output_folder / "checkpoint_latest.pth"
    latest.write_bytes(b"")
    save(cell, "checkpoint_previous.pth")
    put_damaged_checkpoints_aside(cell)
    assert next_training_command(cell, "cpu")[-1] == "--c"  # our trainers take the one before
    (cell.output_folder / "checkpoint_previous.pth").unlink()
    put_damaged_checkpoints_aside(cell)
    assert "--c" not in next_training_command(cell, "cpu")


def test_what_was_trained_by_hand_is_only_evaluated(make, fake):
    benchmark = make(methods=("scratch",))
    (cell,) = benchmark.matrix.cells
    fake(cell.training_command("cpu"), cell.log_file, Executor.variables(benchmark.executor, cell, CPU))
    fake.commands.clear()
    assert benchmark.executor.commands_left(cell, CPU) == []
    assert Runner(benchmark, [CPU]).run() == {}
    assert fake.commands == []
    assert len(rows_of(benchmark.folder.results_file)) == 4


def test_a_test_folder_is_predicted_and_a_half_done_prediction_done_again(make, fake, dataset, tmp_path):
    raw = dataset.parents[1] / "nnUNet_raw" / DATASET
    for kind, end in (("images", "_0000"), ("labels", "")):
        (tmp_path / "test" / f"{kind}Ts").mkdir(parents=True)
        shutil.copy(raw / f"{kind}Tr" / f"{CASES[0]}{end}.nii.gz", tmp_path / "test" / f"{kind}Ts" / f"new{end}.nii.gz")
    fake.labels = tmp_path / "test" / "labelsTs"

    def interrupt(command, watch):
        if command[0] == "nnUNetv2_predict":
            shutil.copytree(fake.labels, command[command.index("-o") + 1])
            raise KeyboardInterrupt

    fake.wait = interrupt
    benchmark = make(test=tmp_path / "test", methods=("scratch",))
    with pytest.raises(KeyboardInterrupt):
        Runner(benchmark, [CPU]).run()
    fake.wait = None
    fake.commands.clear()
    Runner(benchmark, [CPU]).run()
    (command,) = fake.commands
    assert command[0] == "nnUNetv2_predict"
    assert command[command.index("-i") + 1] == str(tmp_path / "test" / "imagesTs")
    (run,) = rows_of(benchmark.folder.runs_file)
    assert run["status"] == "finished"
    assert run["seconds_prediction"]
    assert {row["case"] for row in rows_of(benchmark.folder.results_file)} == {"new"}


@pytest.mark.skipif(os.name == "nt", reason="locks are POSIX")
def test_a_run_that_another_process_does_is_waited_for(make, fake, monkeypatch, capsys):
    monkeypatch.setattr("nnunet_pix2rep.benchmark.launch.local_runner.SECONDS_BETWEEN_TRIES", 0.1)
    benchmark = make(methods=("scratch",))
    (cell,) = benchmark.matrix.cells
    runner = Runner(benchmark, [CPU])
    update, calls = runner._progress.update, []
    lock = held_lock(cell.lock_file)
    lock.__enter__()

    def release_later(*state):
        update(*state)
        calls.append(None)
        if len(calls) == 3:
            assert fake.commands == []
            lock.__exit__(None, None, None)

    monkeypatch.setattr(runner._progress, "update", release_later)
    assert runner.run() == {}
    assert len(fake.commands) == 1
    assert f"process {os.getpid()} on" in "".join(capsys.readouterr())
