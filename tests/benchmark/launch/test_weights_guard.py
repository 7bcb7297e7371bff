import pytest
import torch
from tiny_training import CASES, DATASET, PLANS

from nnunet_pix2rep.benchmark.launch.setup import set_up
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import checksum, read_json, write_json
from nnunet_pix2rep.nnunet.checkpoints.leak_guard import ALLOW_TRANSDUCTIVE_VARIABLE
from nnunet_pix2rep.nnunet.unlabeled.pool import Pool, PoolImage, pool_folder

REGEX = r"(case_\d+).*"


@pytest.fixture
def begin_with(settings, tmp_path):
    """Begins a benchmark of weights that have seen some cases."""

    def begin(*cases, **changes):
        path = tmp_path / "checkpoint.pth"
        torch.save({"network_weights": {}, "pix2rep": {"dataset_name": DATASET, "cases": list(cases)}}, path)
        return set_up(tmp_path / "out", settings(methods=(f"weights:{path}",), **changes))

    return begin


@pytest.fixture
def begin_with_weights(settings, dataset, tmp_path):
    """Begins a benchmark, or goes on with it, of the weights in a file and of others; a value makes the file anew."""

    def begin(value=None, **changes):
        path = tmp_path / "checkpoint.pth"
        if value is not None:
            torch.save({"network_weights": {"layer": torch.full((2,), value)}}, path)
        return set_up(tmp_path / "out", settings(**{"methods": ("scratch", f"weights:{path}")} | changes))

    return begin


def test_weights_that_were_replaced_are_refused(begin_with_weights, tmp_path):
    record_file = begin_with_weights(1.0).folder.record_file
    name = f"weights:{tmp_path / 'checkpoint.pth'}"
    begun = read_json(record_file)["weights"]
    assert begun == {name: checksum(tmp_path / "checkpoint.pth")}
    begin_with_weights(seeds=2)
    with pytest.raises(UserError, match=r"checkpoint\.pth have been replaced since .*benchmark\.json\)"):
        begin_with_weights(2.0, seeds=3)
    assert read_json(record_file)["seeds"] == 2
    begin_with_weights(methods=("scratch",))
    assert read_json(record_file)["weights"] == begun
    with pytest.raises(UserError, match="have been replaced"):
        begin_with_weights()
    begin_with_weights(1.0)
    assert read_json(record_file)["weights"] == begun


def test_weights_under_another_name_are_a_method_of_their_own(begin_with_weights, tmp_path):
    begin_with_weights(1.0)
    other = tmp_path / "other.pth"
    torch.save({"network_weights": {}}, other)
    benchmark = begin_with_weights(methods=(f"weights:{other}",))
    assert read_json(benchmark.folder.record_file)["weights"] == {
        f"weights:{file}": checksum(file) for file in (tmp_path / "checkpoint.pth", other)
    }


def test_a_benchmark_of_an_earlier_version_goes_on_and_knows_its_weights_from_then_on(begin_with_weights):
    record_file = begin_with_weights(1.0).folder.record_file
    record = read_json(record_file)
    del record["weights"]
    write_json(record, record_file)
    begin_with_weights(2.0)
    with pytest.raises(UserError, match="have been replaced"):
        begin_with_weights(3.0)


@pytest.fixture
def held_out_cases(settings, dataset, tmp_path):
    fold = set_up(tmp_path / "first", settings()).matrix.cells[0].fold
    return read_json(tmp_path / "first" / "nnUNet_preprocessed" / DATASET / "splits_final.json")[fold]["val"]


def test_weights_that_have_seen_a_test_patient_are_refused(begin_with, held_out_cases, tmp_path):
    with pytest.raises(UserError, match=f"have seen images of the patients {held_out_cases[0]}"):
        begin_with(held_out_cases[0])
    assert not (tmp_path / "out").exists()
    begin_with(*({*CASES} - {*held_out_cases}), "somebody_else")


def test_patients_of_a_test_folder_count_too(begin_with, dataset, other_patients, monkeypatch):
    with pytest.raises(UserError, match="have seen images of the patients new_1,"):
        begin_with("new_1", test=other_patients)
    write_json(
        {f"new_{number}": {"patient": f"known_{number}"} for number in range(2)}, other_patients / "patients.json"
    )
    for seen in ("new_1", "known_1"):
        with pytest.raises(UserError, match=f"have seen images of the patients {seen},"):
            begin_with(seen, test=other_patients)
    monkeypatch.setenv(ALLOW_TRANSDUCTIVE_VARIABLE, "1")
    begin_with("new_1", test=other_patients)


def test_patients_are_told_apart_by_the_regular_expression_of_the_benchmark(begin_with, held_out_cases):
    with pytest.raises(UserError, match=f"have seen images of the patients {held_out_cases[0]},"):
        begin_with(f"{held_out_cases[0]}_another_day", patient_regex=REGEX)
    begin_with(f"{held_out_cases[0]}_another_day")


def test_unlabeled_images_are_of_the_patient_of_their_raw_case(begin_with, held_out_cases, own_dataset):
    def image(raw_case, dataset=None):
        return PoolImage(raw_case=raw_case, folder="/raw", files={}, modified=0, dataset=dataset)

    folder = pool_folder(own_dataset, f"{PLANS}_2d")
    folder.mkdir()
    images = {"un_1": image(f"{held_out_cases[0]}_cine"), "un_2": image(held_out_cases[0], "Dataset777_Other")}
    Pool(folder, {}, images).write()
    with pytest.raises(UserError, match=f"have seen images of the patients {held_out_cases[0]},"):
        begin_with("un_1", patient_regex=REGEX)
    begin_with("un_2", patient_regex=REGEX)
