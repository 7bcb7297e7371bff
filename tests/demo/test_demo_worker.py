import pytest

from nnunet_pix2rep.demo.worker import run_here


def test_commands_run_with_their_own_arguments(tmp_path, capsys):
    run_here(("nnunet_pix2rep", "trainers"))
    assert "trainers" in capsys.readouterr().out
    run_here(("python", "-m", "nnunet_pix2rep.demo.phantom", "-o", str(tmp_path), "--patients", "1"))
    assert (tmp_path / "Dataset900_CardiacPhantom" / "imagesTr" / "patient000_ED_0000.nii.gz").is_file()


def test_a_failure_ends_the_process_with_its_exit_code(tmp_path):
    with pytest.raises(SystemExit) as end:
        run_here(("nnunet_pix2rep", "demo", "--output", str(tmp_path), "--data", str(tmp_path / "missing")))
    assert end.value.code == 1
