import pytest
import torch
from nnunetv2.utilities.find_objects import recursive_find_trainer_class_by_name
from tiny_training import make_trainer

from nnunet_pix2rep.installation import trainers_folder
from nnunet_pix2rep.nnunet.training.cpu_threads import honor_omp_num_threads


@pytest.fixture(autouse=True)
def as_nnunet_leaves_it():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def threads_on(device, monkeypatch, wanted):
    if wanted is None:
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    else:
        monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    honor_omp_num_threads(torch.device(device))
    return torch.get_num_threads()


def test_the_wish_of_the_user_counts_on_a_cpu(monkeypatch):
    assert threads_on("cpu", monkeypatch, "1") == 1


@pytest.mark.parametrize("wanted", [None, "", "0", "4,2", "many"])
def test_without_a_number_nothing_changes(monkeypatch, wanted):
    assert threads_on("cpu", monkeypatch, wanted) == 2


def test_other_devices_are_left_alone(monkeypatch):
    assert threads_on("cuda", monkeypatch, "1") == 2


@pytest.mark.parametrize(
    "name", ["nnUNetTrainerConfiguredLength", "nnUNetTrainerPix2RepPretrain", "nnUNetTrainerPix2RepFinetuneScratch"]
)
def test_trainers_heed_it(tiny, monkeypatch, name):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("nnUNet_extTrainer", str(trainers_folder()))
    make_trainer(recursive_find_trainer_class_by_name(name), tiny)
    assert torch.get_num_threads() == 1
