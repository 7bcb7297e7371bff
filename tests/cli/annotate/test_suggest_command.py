import shlex
from types import SimpleNamespace

import pytest

from nnunet_pix2rep.annotation import selectors
from nnunet_pix2rep.annotation.suggest.features import pool_features
from nnunet_pix2rep.annotation.suggest.request import Click
from nnunet_pix2rep.annotation.suggest.scans import NOT_PREPROCESSED
from nnunet_pix2rep.cli.annotate import suggest
from nnunet_pix2rep.cli.main import build_parser, main
from nnunet_pix2rep.errors import UserError

REQUIRED = ["suggest", "-d", "1", "-c", "2d", "-o", "work"]


@pytest.fixture
def asked(monkeypatch):
    """The settings that the command hands over; nothing is computed."""
    given = {}

    def stop(*_arguments, settings, **_options):
        given["settings"] = settings
        raise UserError("stop")

    monkeypatch.setattr("nnunet_pix2rep.annotation.suggest.run.suggest", stop)

    def ask(*options):
        assert main([*REQUIRED, *options]) == 1
        return given["settings"]

    return ask


def test_the_choices_are_those_of_the_library():
    """They stand in the command too, since its help must not import torch."""
    assert set(selectors.SELECTORS) == set(suggest.SELECTORS)
    assert suggest.WEIGHTINGS == pool_features.WEIGHTINGS


def test_options_become_settings(asked):
    settings = asked("--slices", "20")
    assert (settings.budget, settings.unit, settings.selector) == (20, "slices", selectors.DEFAULT_SELECTOR)
    assert (settings.fold, settings.axis, settings.click, settings.draft) == ("all", None, None, False)
    settings = asked("--cases", "3", "-f", "2", "--axis", "x", "--like", "a:b:1,2,3", "--draft", "--seed", "4")
    assert (settings.budget, settings.unit, settings.fold, settings.axis) == (3, "cases", 2, 2)
    assert settings.click == Click("a:b", (1, 2, 3))
    assert (settings.draft, settings.seed) == (True, 4)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--slices", "3", "--cases", "1"],
        ["--slices", "3", "--like", "case:1"],
        ["--slices", "3", "--like", "1,2,3"],
        ["--slices", "3", "--selector", "best"],
        ["--slices", "3", "-f", "one"],
    ],
)
def test_malformed_options_are_refused(options, capsys):
    with pytest.raises(SystemExit):
        build_parser().parse_args([*REQUIRED, *options])
    assert "error" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", "4294967296", "99999999999999999999999"])
@pytest.mark.parametrize(
    "command",
    [
        [*REQUIRED, "--slices", "3"],
        ["features", "a.pth", "-i", "images", "-o", "new"],
        ["segment_in_context", "a.pth", "-s", "images", "-l", "labels", "-i", "query", "-o", "new"],
        ["propagate", "a.pth", "-i", "series.nii.gz", "-l", "label.nii.gz", "--frame", "1", "-o", "new.nii.gz"],
    ],
    ids=lambda command: command[0],
)
def test_a_seed_out_of_range_is_refused(command, seed, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert main([*command, "--seed", seed]) == 1
    assert f"--seed must be from 0 to 4294967295, but is {seed}." in capsys.readouterr().err


def test_the_next_command_can_be_pasted_whatever_the_folder_is_called(monkeypatch, tmp_path, capsys):
    made = SimpleNamespace(slices=[SimpleNamespace(patient="a", coverage=None)])
    monkeypatch.setattr("nnunet_pix2rep.annotation.suggest.run.suggest", lambda *_arguments, **_options: (made, []))
    folder = tmp_path / "Anna's scans"
    assert main(["suggest", "-d", "1", "-c", "2d", "-o", str(folder), "--slices", "1"]) == 0
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert command == ["nnunet_pix2rep", "collect", "-i", str(folder / "labels"), "-d", "1"]


@pytest.mark.parametrize("pool", [{"cases": 3}, {"cases": 3, NOT_PREPROCESSED: 2}])
def test_coverage_is_of_all_scans_only_where_all_took_part(monkeypatch, tmp_path, capsys, pool):
    made = SimpleNamespace(slices=[SimpleNamespace(patient="a", coverage=0.5)], pool=pool)
    monkeypatch.setattr("nnunet_pix2rep.annotation.suggest.run.suggest", lambda *_arguments, **_options: (made, []))
    assert main(["suggest", "-d", "1", "-c", "2d", "-o", str(tmp_path / "work"), "--slices", "1"]) == 0
    whole = "the scans that are preprocessed" if NOT_PREPROCESSED in pool else "all scans"
    assert f"represent 50.0% of {whole}." in capsys.readouterr().out
