import importlib
import subprocess
import sys

import pytest

from nnunet_pix2rep.nnunet.subprocesses import same_package

MODULES = {
    "Dataset027_ACDC": 27,
    "Dataset114_MNMs": 114,
    "Dataset116_MNMs2": 116,
    "Dataset501_Sunnybrook": 501,
    "Dataset504_Hippocampus": 504,
}


def load(name):
    return importlib.import_module(f"nnunet_pix2rep.dataset_conversion.{name}")


@pytest.mark.parametrize(("name", "dataset_id"), MODULES.items())
def test_help_names_the_default_id(name, dataset_id, capsys):
    with pytest.raises(SystemExit) as stop:
        load(name).main(["--help"])
    assert stop.value.code == 0
    assert f"default: {dataset_id}" in capsys.readouterr().out


@pytest.mark.parametrize("name", MODULES)
def test_wrong_folder_is_one_line_and_exit_code_1(name, tmp_path, capsys):
    assert load(name).main(["-i", str(tmp_path / "nowhere"), "-o", str(tmp_path / "raw")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("Error: ")
    assert "nowhere" in error
    assert not (tmp_path / "raw").exists()


@pytest.mark.parametrize("name", MODULES)
def test_missing_output_folder_names_the_variable(name, tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("nnUNet_raw", raising=False)
    assert load(name).main(["-i", str(tmp_path)]) == 1
    assert "nnUNet_raw" in capsys.readouterr().err


def test_runs_as_a_module_into_nnunets_raw_folder(real_data, tmp_path):
    module = "nnunet_pix2rep.dataset_conversion.Dataset504_Hippocampus"
    run = subprocess.run(
        [sys.executable, "-m", module, "-i", str(real_data / "hippocampus"), "-d", "7", "--dry-run"],
        env={"nnUNet_raw": str(tmp_path), **same_package()},
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert str(tmp_path / "Dataset007_Hippocampus" / "dataset.json") in run.stdout
    assert not any(tmp_path.iterdir())
