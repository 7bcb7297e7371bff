"""Files that are no checkpoints: refused by name, and no code in them is run."""

import pickle

import numpy as np
import pytest
import torch
from small_networks import small_network

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file, save_checkpoint_file


class RunsCode:
    def __reduce__(self):
        return print, ("code from a checkpoint was run",)


def write_checkpoint(path):
    save_checkpoint_file({"network_weights": small_network().state_dict()}, path)
    return path.read_bytes()


def truncated(path):
    path.write_bytes(write_checkpoint(path)[:-1000])


def cut_to_a_few_bytes(path):
    path.write_bytes(write_checkpoint(path)[:10])


def empty(path):
    path.touch()


def random_bytes(path):
    path.write_bytes(np.random.default_rng(0).bytes(5000))


def pickle_that_runs_code(path):
    path.write_bytes(pickle.dumps({"network_weights": RunsCode()}))


def torch_file_that_runs_code(path):
    torch.save({"network_weights": RunsCode()}, path)


def no_weights(path):
    torch.save({"state_dict": {}}, path)


def no_dict(path):
    torch.save([1, 2], path)


def missing(_path):
    pass


def folder(path):
    path.mkdir()


BAD_FILES = [truncated, cut_to_a_few_bytes, empty, random_bytes, pickle_that_runs_code, torch_file_that_runs_code]
BAD_FILES += [no_weights, no_dict, missing, folder]


@pytest.mark.parametrize("make", BAD_FILES, ids=lambda make: make.__name__)
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_bad_files_are_named_and_run_no_code(tmp_path, capsys, make):
    path = tmp_path / "checkpoint_bad.pth"
    make(path)
    with pytest.raises(UserError, match=r"checkpoint_bad\.pth"):
        load_checkpoint_file(path)
    assert "was run" not in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_any_random_bytes_are_refused_alike(tmp_path):
    path = tmp_path / "checkpoint_bad.pth"
    for seed in range(200):
        generator = np.random.default_rng(seed)
        path.write_bytes(b"\x80\x02" * (seed % 2) + generator.bytes(int(generator.integers(1, 60))))
        with pytest.raises(UserError, match=r"checkpoint_bad\.pth"):
            load_checkpoint_file(path)
