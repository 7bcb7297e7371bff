import shutil
from pathlib import Path

import pytest
from tiny_training import CASES, DATASET, PLANS

from nnunet_pix2rep.benchmark.launch.setup import set_up
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json


def state_of(folder):
    return {path: path.lstat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_the_users_folders_stay_as_they_are(dataset, settings, tmp_path):
    before = state_of(dataset.parents[1])
    set_up(tmp_path / "out", settings(iterations=10))
    assert state_of(dataset.parents[1]) == before


def test_the_benchmark_has_folds_and_plans_of_its_own_and_the_users_data(dataset, settings, tmp_path):
    benchmark = set_up(tmp_path / "out", settings(methods=("scratch", "scratch_long"), shots=(1, "all"), seeds=2))
    own = benchmark.folder.preprocessed / DATASET
    splits = read_json(own / "splits_final.json")
    assert [len(split["train"]) for split in splits] == [1, 1, 4]
    assert splits != read_json(dataset / "splits_final.json")
    assert {"dataset.json", "dataset_fingerprint.json", f"{PLANS}.json", f"{PLANS}_scratch_long.json"} <= {
        file.name for file in own.iterdir()
    }
    for name in (f"{PLANS}_2d", "gt_segmentations"):
        assert (own / name).is_symlink()
        assert (own / name).resolve() == (dataset / name).resolve()


def test_the_record_says_what_the_report_needs(dataset, settings, tmp_path):
    benchmark = set_up(tmp_path / "out", settings(shots=(2, "all"), seeds=2))
    record = read_json(benchmark.folder.record_file)
    assert record["methods"] == ["scratch", "pix2rep"]
    assert record["shots"] == [2, "all"]
    assert record["seeds"] == 2
    assert set(record["splits"]) == {"2_0", "2_1", "4_0"}
    assert record["labels"] == {"1": "ring", "2": "core"}
    for split in record["splits"].values():
        assert len(split["train_patients"]) == split["shots"]
        assert not set(split["train_patients"]) & set(record["test_patients"])
    assert Path(record["labels_folder"]) == dataset / "gt_segmentations"
    assert (Path(record["images_folder"]) / f"{record['test_patients'][0]}_0000.nii.gz").is_file()
    assert record["versions"]["nnunetv2"]
    assert record["hardware"]["cores"] >= 1
    assert {(cell["method"], cell["shots"], cell["seed"]) for cell in record["cells"]} == {
        (method, *draw) for method in ("scratch", "pix2rep") for draw in ((2, 0), (2, 1), (4, 0))
    }


def test_one_pretraining_serves_all_cells_of_its_trainer(dataset, settings, tmp_path):
    methods = ("scratch", "pix2rep", "pix2rep_linear", "pix2rep_v2", "mean_teacher", "masked_autoencoder")
    benchmark = set_up(tmp_path / "out", settings(methods=methods, shots=(1, 2), seeds=2))
    assert sorted(run.trainer for run in benchmark.matrix.pretrainings) == [
        "nnUNetTrainerMaskedAutoencoderPretrain",
        "nnUNetTrainerPix2RepPretrain",
        "nnUNetTrainerPix2RepV2Pretrain",
    ]
    assert len(benchmark.matrix.cells) == 6 * 4
    assert len({cell.folder for cell in benchmark.matrix.cells}) == 6 * 4


def test_a_pretraining_for_each_draw_if_wanted(dataset, settings, tmp_path):
    benchmark = set_up(tmp_path / "out", settings(seeds=2, pretraining_per_seed=True))
    assert [run.seed for run in benchmark.matrix.pretrainings] == [0, 1]
    seeds = [
        read_json(benchmark.folder.preprocessed / DATASET / f"{run.plans}.json")["configurations"]["2d"]["pix2rep"][
            "pretraining"
        ].get("seed", 0)
        for run in benchmark.matrix.pretrainings
    ]
    assert seeds == [0, 1]


def test_a_mean_teacher_without_unlabeled_images_is_left_out(dataset, settings, tmp_path):
    benchmark = set_up(tmp_path / "out", settings(methods=("mean_teacher_scratch",), shots=(1, "all")))
    assert [cell.impossible is None for cell in benchmark.matrix.cells] == [True, False]
    assert "impossible" in benchmark.folder.runs_file.read_text()


def test_methods_shots_and_seeds_may_be_added(dataset, settings, tmp_path):
    first = set_up(tmp_path / "out", settings(methods=("pix2rep",), shots=(2,), seeds=1))
    second = set_up(tmp_path / "out", settings(methods=("scratch",), shots=(1, 2), seeds=2))
    record = read_json(second.folder.record_file)
    assert record["methods"] == ["pix2rep", "scratch"]
    assert (record["shots"], record["seeds"]) == ([1, 2], 2)
    assert len(record["cells"]) == 1 + 4
    assert {cell.method.name for cell in second.matrix.cells} == {"scratch"}
    (before,) = (cell.fold for cell in first.matrix.cells)
    assert [cell.fold for cell in second.matrix.cells if (cell.shots, cell.seed) == (2, 0)] == [before]
    assert not list(second.folder.path.rglob("*backup*"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"iterations": 20}, "iterations was 10 and is now 20"),
        ({"test": 3}, "test was 2 and is now 3"),
        ({"split_seed": 1}, "split_seed was 12345 and is now 1"),
        ({"surface_tolerance": 1.0}, "surface_tolerance was 2.0 and is now 1.0"),
    ],
)
def test_other_settings_are_refused(dataset, settings, tmp_path, changes, message):
    set_up(tmp_path / "out", settings(iterations=10))
    before = (tmp_path / "out" / "benchmark.json").read_bytes()
    with pytest.raises(UserError, match=message):
        set_up(tmp_path / "out", settings(**{"iterations": 10} | changes))
    assert (tmp_path / "out" / "benchmark.json").read_bytes() == before


def test_other_plans_are_refused(own_dataset, settings, tmp_path):
    set_up(tmp_path / "out", settings())
    plans = read_json(own_dataset / f"{PLANS}.json")
    plans["configurations"]["2d"]["batch_size"] = 3
    write_json(plans, own_dataset / f"{PLANS}.json")
    with pytest.raises(UserError, match=r"plans have changed .*configurations.2d.batch_size"):
        set_up(tmp_path / "out", settings())


def test_a_folder_of_something_else_is_refused(dataset, settings, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"holds files, but no benchmark.json"):
        set_up(tmp_path, settings())
    write_json({"format_version": 99}, tmp_path / "benchmark.json")
    with pytest.raises(UserError, match="not of a benchmark of this version"):
        set_up(tmp_path, settings())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: shutil.rmtree(folder / f"{PLANS}_2d"),
            rf"Run nnUNetv2_preprocess -d 901 -plans_name {PLANS} -c 2d",
        ),
        (
            lambda folder: (folder / f"{PLANS}_2d" / f"{CASES[0]}.b2nd").unlink(),
            rf"1 case\(s\) .*{CASES[0]}.*Run nnUNetv2",
        ),
        (lambda folder: (folder / f"{PLANS}.json").unlink(), "Name existing plans with -p"),
    ],
)
def test_what_is_missing_is_named_with_the_command(own_dataset, settings, tmp_path, change, message):
    change(own_dataset)
    with pytest.raises(UserError, match=message):
        set_up(tmp_path / "out", settings())
    assert not (tmp_path / "out").exists()


def test_a_test_folder(dataset, settings, tmp_path, other_patients):
    benchmark = set_up(tmp_path / "out", settings(test=other_patients, shots=("all",)))
    assert benchmark.executor.test_set.patients == {"new_0": "new_0", "new_1": "new_1"}
    (scratch, _) = benchmark.matrix.cells
    assert scratch.shots == 5
    record = read_json(benchmark.folder.record_file)
    assert record["test_folder"] == str(other_patients)
    assert record["test_patients"] == ["new_0", "new_1"]
    assert record["images_folder"] == str(other_patients / "imagesTs")


def test_segmentation_in_context_is_left_out_where_a_folder_would_have_to_be_predicted(
    dataset, settings, tmp_path, other_patients
):
    chosen = settings(methods=("in_context", "scratch"), test=other_patients)
    in_context, scratch = set_up(tmp_path / "out", chosen).matrix.cells
    assert "nnUNetv2_predict" in in_context.impossible
    assert scratch.impossible is None
    of_the_dataset = set_up(tmp_path / "other", settings(methods=("in_context",)))
    assert [cell.impossible for cell in of_the_dataset.matrix.cells] == [None]
    assert [run.trainer for run in of_the_dataset.matrix.pretrainings] == ["nnUNetTrainerPix2RepV2Pretrain"]


def test_bad_test_folders_are_refused(dataset, settings, tmp_path, other_patients):
    def refused(message, folder=other_patients):
        with pytest.raises(UserError, match=message):
            set_up(tmp_path / "out", settings(test=folder))

    refused("is no folder", tmp_path / "nowhere")
    refused("must hold the folders imagesTs and labelsTs", tmp_path)
    write_json(
        {f"new_{number}": {"patient": "p", "group": None} for number in range(2)}, other_patients / "patients.json"
    )
    write_json({"new_0": {"patient": CASES[3]}, "new_1": {"patient": "x"}}, other_patients / "patients.json")
    refused(f"patients of the dataset too: {CASES[3]}")
    (other_patients / "patients.json").unlink()
    for kind, end in (("images", "_0000"), ("labels", "")):
        folder = other_patients / f"{kind}Ts"
        shutil.copy(folder / f"new_0{end}.nii.gz", folder / f"{CASES[0]}{end}.nii.gz")
    refused(f"cases of the dataset too: {CASES[0]}")
    (other_patients / "imagesTs" / f"{CASES[0]}_0000.nii.gz").unlink()
    (other_patients / "labelsTs" / "new_1.nii.gz").unlink()
    refused("have no label in .*new_1")
    shutil.copy(other_patients / "labelsTs" / "new_0.nii.gz", other_patients / "labelsTs" / "new_1.nii.gz")
    (other_patients / "imagesTs" / "new_1_0001.nii.gz").touch()
    refused(r"do not have the dataset's 1 channel\(s\): new_1")


def test_cases_that_came_or_went_are_refused_whoever_is_drawn(dataset, settings, tmp_path):
    benchmark = set_up(tmp_path / "out", settings())
    record_file = benchmark.folder.preprocessed / DATASET / "pix2rep_splits.json"
    record = read_json(record_file)
    for patients in (
        {case: patient for case, patient in record["patients"].items() if case != CASES[3]},
        record["patients"] | {"case_99": {"patient": "case_99", "group": None}},
    ):
        write_json(record | {"patients": patients}, record_file)
        (changed,) = patients.keys() ^ {*CASES}
        with pytest.raises(UserError, match=f"come to {DATASET} or gone .*: {changed}. .*new folder with -o"):
            set_up(tmp_path / "out", settings())
    write_json(record, record_file)
    set_up(tmp_path / "out", settings())
