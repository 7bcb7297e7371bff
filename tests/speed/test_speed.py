"""The benchmark on its own synthetic dataset, tiny, in this process."""

import os
from copy import deepcopy

import pytest
import torch
from nnunetv2.training.logging import nnunet_logger

from nnunet_pix2rep.cli.measure import speed as command
from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.environment import WANDB_SWITCH, environment
from nnunet_pix2rep.nnunet.plans.plans_file import resolve_configuration
from nnunet_pix2rep.speed import bench, run
from nnunet_pix2rep.speed.bench import map_shapes
from nnunet_pix2rep.speed.measurements import loops, pretraining, step
from nnunet_pix2rep.speed.run import run_speed
from nnunet_pix2rep.speed.settings import PARTS, RATIOS, SpeedSettings
from nnunet_pix2rep.speed.subjects.dataset import make_synthetic_dataset, nnunet_folders
from nnunet_pix2rep.speed.subjects.trainers import PRETRAINERS, make_trainer, quiet
from nnunet_pix2rep.speed.summary import summary_lines

CPU = torch.device("cpu")
TINY = (
    "pretraining.sampling.num_points=64",
    "pretraining.head.hidden_channels=8",
    "pretraining.head.channels=8",
    "pretraining.info_nce.negatives=14",
)


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    root = tmp_path_factory.mktemp("speed")
    with environment(nnunet_folders(root)), quiet():
        yield make_synthetic_dataset(root, "2d_compact", width=32, num_cases=2)


def test_the_command_offers_all_parts():
    assert (command.PARTS, command.RATIOS) == (PARTS, RATIOS)


def test_the_synthetic_dataset_has_the_patch_of_its_images_and_the_compact_batch(synthetic):
    configuration = resolve_configuration(synthetic.plans({}), "2d_compact")
    assert configuration["patch_size"] == [32, 32]
    assert configuration["batch_size"] == 8


def test_settings_are_added_to_the_plans(synthetic):
    plans = synthetic.plans({"pretraining": {"sampling": {"num_points": 7}}})
    assert plans["configurations"]["2d_compact"]["pix2rep"]["pretraining"] == {"sampling": {"num_points": 7}}


def test_the_maps_are_those_of_the_planned_network(synthetic):
    shapes, batch_size = map_shapes(synthetic, CPU, {})
    assert batch_size == 8
    assert shapes["one map of 32 channels"] == [(32, 32, 32)]
    channels = [shape[0] for shape in shapes["hypercolumn"]]
    assert channels[-1] == 16
    assert channels == sorted(channels, reverse=True)
    assert shapes["hypercolumn"][-1] == (16, 32, 32)


def test_the_maps_are_those_that_the_settings_choose(synthetic):
    shapes, _ = map_shapes(synthetic, CPU, {"sampling": {"features": "last_stage"}})
    assert shapes == {"one map of 32 channels": [(32, 32, 32)], "last_stage": [(16, 32, 32)]}


def test_trainers_leave_the_threads_that_the_command_has_set(synthetic, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(2)
    try:
        make_trainer(PRETRAINERS["barlow_twins"], synthetic, CPU)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_a_measurement_is_no_run_for_weights_and_biases(synthetic, monkeypatch):
    def no_run(*_):
        raise AssertionError("a run was begun")

    monkeypatch.setattr(nnunet_logger, "WandbLogger", no_run)
    monkeypatch.setenv(WANDB_SWITCH, "1")
    assert make_trainer(PRETRAINERS["info_nce"], synthetic, CPU, pretraining={}).logger is not None
    assert os.environ[WANDB_SWITCH] == "1"


@pytest.mark.slow
def test_all_ratios_in_this_process_without_variables(monkeypatch):
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("nnUNet_n_proc_DA", "0")
    lines = []
    settings = SpeedSettings(repetitions=1, num_batches=1, max_points=2048, settings=TINY, width=32)
    results = run_speed(settings, lines.append)
    assert "nnUNet_results" not in os.environ
    assert list(results) == ["format_version", "machine", "settings", *RATIOS, "left_out"]
    overhead = {item["loss"]: item for item in results["step_overhead"]}
    assert overhead.keys() == {"barlow_twins", "info_nce"}
    assert overhead["info_nce"]["info_nce_negatives"] == 14
    for item in overhead.values():
        assert item["views"] == [16, 1, 32, 32]
        assert item["pixel_pairs"] == 64
        assert item["ratio"] == pytest.approx(item["seconds"]["step"] / item["seconds"]["bare_network"])
    assert results["loader"]["workers"] == 0
    rates = results["loader"]["views_per_second"]
    assert results["loader"]["ratio"] == pytest.approx(rates["pix2rep"] / rates["nnunet"])
    assert results["fine_tuning"]["ratio"] > 0
    assert lines == [line for part in RATIOS for line in summary_lines(part, results[part])]


@pytest.fixture
def made_up_pretrainings(synthetic, monkeypatch):
    def measure(name, *_arguments, **_settings):
        if name == "2d":
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return {"plan": name, "compiled": False, "loader": {"limits": False}}

    datasets = dict.fromkeys(("2d", "3d_fullres", "another"), synthetic)
    monkeypatch.setattr(bench, "measure_pretraining", measure)
    monkeypatch.setattr(bench, "make_synthetic_dataset", lambda *_: synthetic)
    monkeypatch.setattr(bench, "make_default_datasets", lambda *_: datasets)
    monkeypatch.setattr(run, "summary_lines", lambda _part, _result: [])


def test_what_is_measured_is_kept_at_once(made_up_pretrainings):
    kept = []
    settings = SpeedSettings(parts=("pretraining",))
    results = run_speed(settings, lambda _line: None, keep=lambda found: kept.append(deepcopy(found)))
    rows = [[row["plan"] for row in found["pretraining"]] for found in kept]
    assert rows == [["3d_fullres"], ["3d_fullres", "another"], ["3d_fullres", "another"]]
    assert all(found["machine"] == results["machine"] and "left_out" not in found for found in kept)


def test_a_pretraining_that_does_not_fit_is_left_out_with_the_reason(made_up_pretrainings):
    lines = []
    results = run_speed(SpeedSettings(parts=("pretraining",)), lines.append)
    assert [row["plan"] for row in results["pretraining"]] == ["3d_fullres", "another"]
    assert results["left_out"] == ["pretraining, 2d (the GPU's memory is too small for it)"]
    assert lines[0] == f"Left out: {results['left_out'][0]}"
    assert lines[1] == results["views_on_gpu"]["rule"]


class MeasuredError(Exception):
    """Ends a measurement at its first trainer or loss; holds the settings of what was to be measured."""


@pytest.mark.parametrize("part", PARTS)
def test_every_part_is_measured_with_the_settings(made_up_pretrainings, monkeypatch, part):
    changed = ("pretraining.sampling.features=last_stage", "pretraining.views.elastic_probability=0")
    settings = SpeedSettings(width=32, parts=(part,), settings=(*changed, "finetuning.trainable=heads"))

    def stop(_trainer_class, dataset, _device, **given):
        block = dataset.plans(given)["configurations"][dataset.configuration]["pix2rep"]
        raise MeasuredError(Pix2RepConfig.from_block(block, "plans"))

    def stop_without_trainer(*_arguments, config, **_options):
        raise MeasuredError(Pix2RepConfig(pretraining=config))

    monkeypatch.setattr(bench, "measure_pretraining", pretraining.measure_pretraining)  # not the made-up one
    monkeypatch.setattr(bench, "measure_scaling", stop_without_trainer)
    for module in (bench, loops, pretraining, step):
        monkeypatch.setattr(module, "make_trainer", stop)
    with pytest.raises(MeasuredError) as measured:
        run_speed(settings)
    (config,) = measured.value.args
    if part == "fine_tuning":
        assert config.finetuning.trainable == "heads"
    else:
        assert config.pretraining.sampling.features == "last_stage"
        assert config.pretraining.views.elastic_probability == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"configuration": "3d_fullres"}, "2d_compact"),
        ({"device": "cuda"}, "Usable: cpu"),
        ({"settings": ("pretraining.nothing=1",)}, "nothing"),
    ],
)
def test_what_is_not_there_is_named(settings, message):
    if settings.get("device") == "cuda" and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(UserError, match=message):
        run_speed(SpeedSettings(width=32, parts=("step_overhead",), **settings))
