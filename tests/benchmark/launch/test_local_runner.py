import os
import shutil
import time

import pytest
from fake_nnunet import rows_of_table, status_of
from tiny_training import CASES, DATASET

from nnunet_pix2rep.benchmark.execution.executor import Executor
from nnunet_pix2rep.benchmark.execution.inherited_locks import held_lock
from nnunet_pix2rep.benchmark.execution.machine import Slot
from nnunet_pix2rep.benchmark.launch.local_runner import Runner
from nnunet_pix2rep.benchmark.schema import RESULT_COLUMNS
from nnunet_pix2rep.files import read_json

CPU = Slot("cpu")


def test_a_whole_matrix(make, fake):
    benchmark = make(shots=(1, 2), seeds=2)
    assert Runner(benchmark, [CPU]).run() == {}
    assert fake.trainers()[0] == "nnUNetTrainerPix2RepPretrain"
    assert len(fake.commands) == 1 + 2 * 4
    assert fake.most_at_once == 1
    rows = rows_of_table(benchmark.folder.results_file)
    assert tuple(rows[0]) == RESULT_COLUMNS
    assert len(rows) == 8 * 2 * 2  # cells, cases, classes
    assert {row["dice"] for row in rows} == {"1.0"}
    for row in rows:
        folder = benchmark.folder.path / row["run_folder"]
        assert (folder / "predictions" / f"{row['case']}.nii.gz").is_file()
        assert (folder / "summary.json").is_file()
        assert (folder / "commands.txt").read_text().startswith("nnUNetv2_train")
    runs = rows_of_table(benchmark.folder.runs_file)
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
    assert rows_of_table(benchmark.folder.results_file) == []
    fake.wait = None
    assert Runner(make(methods=("scratch",)), [CPU]).run() == {}
    (cell,) = benchmark.matrix.cells
    assert len(cell.record["attempts"]) == 2


def test_what_was_trained_by_hand_is_only_evaluated(make, fake):
    benchmark = make(methods=("scratch",))
    (cell,) = benchmark.matrix.cells
    fake(cell.training_command("cpu"), cell.log_file, Executor.variables(benchmark.executor, cell, CPU))
    fake.commands.clear()
    assert benchmark.executor.commands_left(cell, CPU) == []
    assert Runner(benchmark, [CPU]).run() == {}
    assert fake.commands == []
    assert len(rows_of_table(benchmark.folder.results_file)) == 4


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
    (run,) = rows_of_table(benchmark.folder.runs_file)
    assert run["status"] == "finished"
    assert run["seconds_prediction"]
    assert {row["case"] for row in rows_of_table(benchmark.folder.results_file)} == {"new"}


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
