import pytest
import torch
from tiny_training import CASES, DATASET, PLANS

from nnunet_pix2rep.benchmark.launch.setup import set_up
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json
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
