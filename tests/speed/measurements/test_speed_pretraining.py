"""How long a pretraining takes: pure parts by hand, and the whole at a tiny size, on nnU-Net's own plans."""

from types import SimpleNamespace

import pytest
import torch

from nnunet_pix2rep.nnunet.environment import environment
from nnunet_pix2rep.nnunet.plans.plans_file import resolve_configuration
from nnunet_pix2rep.speed.measurements import pretraining
from nnunet_pix2rep.speed.measurements.pretraining import hours_of_pretraining, loader_share, measure_pretraining
from nnunet_pix2rep.speed.subjects.dataset import nnunet_folders
from nnunet_pix2rep.speed.subjects.default_plans import PLANS, make_default_datasets
from nnunet_pix2rep.speed.subjects.trainers import quiet
from nnunet_pix2rep.speed.summary import VIEWS_ON_GPU_RULE, summary_lines, views_on_gpu, views_on_gpu_lines
from nnunet_pix2rep.speed.timing.timer import HostTimer

CPU = torch.device("cpu")


@pytest.fixture
def four_cores(monkeypatch):
    monkeypatch.setattr(pretraining, "usable_cores", lambda: 4)
    monkeypatch.setenv("nnUNet_n_proc_DA", "2")


def test_the_hours_are_those_of_all_steps():
    length = SimpleNamespace(num_epochs=200, num_iterations_per_epoch=250, num_val_iterations_per_epoch=20)
    assert hours_of_pretraining(length, step=0.072, validation_step=0.018) == pytest.approx(1.0 + 0.02)


@pytest.mark.parametrize(
    ("step", "with_loader", "of_one_worker", "waited", "needed", "limits"),
    [
        (0.1, 0.1, 0.05, 0.0, 1, False),
        (0.1, 0.09, 0.4, 0.0, 4, False),  # noise: no step waits for less than nothing
        (0.1, 0.2, 0.41, 0.1, 5, True),
    ],
)
def test_workers_needed_are_a_batchs_time_over_a_steps(
    four_cores, step, with_loader, of_one_worker, waited, needed, limits
):
    loader = loader_share(step, with_loader, of_one_worker)
    assert loader["seconds_waited_per_step"] == pytest.approx(waited)
    assert loader["share"] == pytest.approx(waited / with_loader)
    assert (loader["workers_needed"], loader["limits"]) == (needed, limits)
    assert loader["workers"] == min(2, loader["cores"])


@pytest.fixture(scope="module")
def default_datasets(tmp_path_factory):
    root = tmp_path_factory.mktemp("default_plans")
    with environment(nnunet_folders(root)), quiet():
        yield make_default_datasets(root, (16, 16, 16), planned_cases=4)


def test_the_plans_are_nnunets_own(default_datasets):
    assert list(default_datasets) == list(PLANS)
    content = {
        name: resolve_configuration(dataset.plans({}), dataset.configuration)
        for name, dataset in default_datasets.items()
    }
    assert content["2d"]["patch_size"] == [16, 16]
    assert {tuple(content[name]["patch_size"]) for name in list(PLANS)[1:]} == {(16, 16, 16)}
    classes = [plan["architecture"]["network_class_name"].rsplit(".", 1)[1] for plan in content.values()]
    assert classes == ["PlainConvUNet", "PlainConvUNet", "ResidualEncoderUNet"]
    assert {plan["architecture"]["arch_kwargs"]["features_per_stage"][0] for plan in content.values()} == {32}


@pytest.mark.parametrize("workers", ["0", "1"])
def test_a_pretraining_is_measured_and_shown(default_datasets, monkeypatch, workers):
    monkeypatch.setenv("nnUNet_n_proc_DA", workers)
    settings = {"sampling": {"num_points": 32}, "num_epochs": 3}
    row = measure_pretraining(
        "2d", default_datasets["2d"], settings, repetitions=1, num_batches=1, timer=HostTimer(CPU), device=CPU
    )
    assert row["ratio"] == pytest.approx(row["seconds"]["step"] / row["seconds"]["bare_network"])
    assert row["peak_bytes"]["step"] > 0
    # weights, and AdamW's two moments of those that are trained
    assert row["model_bytes"] > 2 * 4 * 32
    assert not row["compiled"]
    header, line = summary_lines("pretraining", [row])
    assert len(header) == len(line)
    assert f"{row['hours']:.1f}" in line
    assert f"({workers} workers)" in line


def test_the_rule_of_the_views_and_its_verdict_are_said(four_cores):
    rows = [
        {"plan": plan, "compiled": compiled, "loader": loader_share(0.1, 0.2, of_one_worker)}
        for plan, compiled, of_one_worker in (("2d", False, 0.3), ("2d", True, 0.5))
    ]
    decision = views_on_gpu(rows)
    assert decision == {"rule": VIEWS_ON_GPU_RULE, "loader_limits": {"2d": False, "2d, compiled": True}}
    rule, verdict = views_on_gpu_lines(decision, "NVIDIA H100")
    assert "if and only if the loader is what limits an H100 with 16 cores" in rule
    assert verdict == "On this machine (NVIDIA H100) the loader limits 2d, compiled."
    assert "none" in views_on_gpu_lines(views_on_gpu(rows[:1]), "cpu")[1]
