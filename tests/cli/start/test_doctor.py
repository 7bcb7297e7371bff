from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.cli.start import doctor
from nnunet_pix2rep.doctor import environment
from nnunet_pix2rep.doctor.findings import error, ok, warning


def run(monkeypatch, findings):
    monkeypatch.setattr(environment, "check_environment", lambda: findings)
    return main(["doctor"])


def test_errors_are_printed_with_their_remedy_and_set_the_exit_code(monkeypatch, capsys):
    assert run(monkeypatch, [ok("a", "fine"), warning("b", "odd", "do this"), error("c", "bad", "do that")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["ok", "a:", "fine"]
    assert lines[-3:-1] == ["  error  c: bad", "         -> do that"]
    assert lines[-1] == "1 error(s), 1 warning(s), 1 ok"


def test_warnings_alone_do_not(monkeypatch):
    assert run(monkeypatch, [ok("a", "fine"), warning("b", "odd", "do this")]) == 0


def test_a_dataset_and_a_checkpoint_are_looked_at_when_named(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(environment, "check_environment", list)
    for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
        monkeypatch.setenv(name, str(tmp_path))
    assert main(["doctor", "-d", "999", "--checkpoint", str(tmp_path / "none.pth"), "-f", "all"]) == 1
    out = capsys.readouterr().out
    assert "error  dataset:" in out
    assert "error  checkpoint: There is no checkpoint" in out


def test_help_says_that_nothing_is_changed():
    assert "changes nothing" in doctor.HELP
