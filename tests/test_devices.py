import pytest
import torch

from nnunet_pix2rep.devices import DEVICES, choose_device, usable_devices
from nnunet_pix2rep.errors import UserError


@pytest.fixture(params=[False, True], ids=["without GPU", "with GPU"])
def has_gpu(request, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: request.param)
    return request.param


def test_without_a_name_it_is_the_gpu_where_there_is_one(has_gpu):
    assert choose_device(None) == torch.device("cuda" if has_gpu else "cpu")


def test_a_gpu_is_refused_where_there_is_none(has_gpu):
    if has_gpu:
        assert choose_device("cuda") == torch.device("cuda")
    else:
        with pytest.raises(UserError, match="cuda is not available"):
            choose_device("cuda")


def test_every_machine_has_a_cpu(has_gpu):
    assert usable_devices()[0] == "cpu"
    assert choose_device("cpu") == torch.device("cpu")


def test_an_unknown_device_is_refused():
    with pytest.raises(UserError, match=f"one of {', '.join(DEVICES)}, but is 'tpu'"):
        choose_device("tpu")
