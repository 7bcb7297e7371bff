import os

import pytest

from nnunet_pix2rep.demo.stages import Stage, StageFolder
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json

SETTINGS = {"seed": 0, "options": ["a"]}


def appending(name, path):
    """A stage that leaves a mark in a file each time that it runs."""
    command = ("python", "-c", f"open({str(path)!r}, 'a').write('{name} ')")
    return Stage(name, name.title(), (command,), os.environ)


def failing(name, code=3):
    command = ("python", "-c", f"import sys; print('no luck'); sys.exit({code})")
    return Stage(name, name.title(), (command,), os.environ)


def test_stages_run_in_order_and_are_shown_and_recorded(tmp_path, capsys):
    folder = StageFolder(tmp_path / "demo", SETTINGS)
    folder.run([appending("first", tmp_path / "marks"), appending("second", tmp_path / "marks")])
    assert (tmp_path / "marks").read_text() == "first second "
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("[1/2] First")
    assert " s " in printed[1]
    record = read_json(tmp_path / "demo" / "stages.json")
    assert record["settings"] == SETTINGS
    assert list(record["stages"]) == ["first", "second"]
    assert list(folder.seconds) == list(folder.commands) == ["first", "second"]
    assert (tmp_path / "demo" / "logs" / "second.log").is_file()


def test_after_a_failure_only_the_rest_runs(tmp_path, capsys):
    marks = tmp_path / "marks"
    first, last = appending("first", marks), appending("last", marks)
    with pytest.raises(UserError, match=r"(?s)exit code 3.*no luck"):
        StageFolder(tmp_path / "demo", SETTINGS).run([first, failing("middle"), last])
    assert marks.read_text() == "first "
    StageFolder(tmp_path / "demo", SETTINGS).run([first, appending("middle", marks), last])
    assert marks.read_text() == "first middle last "
    assert "no luck" not in (tmp_path / "demo" / "logs" / "middle.log").read_text()
    StageFolder(tmp_path / "demo", SETTINGS).run([first, appending("middle", marks), last])
    assert marks.read_text() == "first middle last "
    assert capsys.readouterr().out.count("done before") == 1 + 3


def test_a_stage_with_a_failing_second_command_runs_anew(tmp_path):
    marks = tmp_path / "marks"
    good = appending("both", marks)
    bad = Stage("both", "Both", (*good.commands, *failing("both").commands), os.environ)
    with pytest.raises(UserError):
        StageFolder(tmp_path / "demo", SETTINGS).run([bad])
    StageFolder(tmp_path / "demo", SETTINGS).run([good])
    assert marks.read_text() == "both both "


def test_commands_may_depend_on_the_stages_before(tmp_path):
    marks = tmp_path / "marks"
    later = Stage("later", "Later", lambda: appending(marks.read_text().strip() * 2, marks).commands, os.environ)
    folder = StageFolder(tmp_path / "demo", SETTINGS)
    folder.run([appending("one", marks), later])
    assert marks.read_text() == "one oneone "
    assert "oneone" in folder.commands["later"][0]


def test_each_stage_has_its_own_environment(tmp_path):
    marks = tmp_path / "marks"
    command = ("python", "-c", f"import os; open({str(marks)!r}, 'a').write(os.environ['PLACE'])")
    stages = [Stage(place, place, (command,), os.environ | {"PLACE": place}) for place in ("here", "there")]
    StageFolder(tmp_path / "demo", SETTINGS).run(stages)
    assert marks.read_text() == "herethere"


def making(folder):
    """A command that refuses a folder that is there."""
    return ("python", "-c", f"import os; os.mkdir({str(folder)!r})")


def test_what_an_interrupted_stage_left_is_made_anew(tmp_path):
    made = tmp_path / "made"
    interrupted = Stage("make", "Make", (making(made), *failing("make").commands), os.environ, output=made)
    with pytest.raises(UserError, match="no luck"):
        StageFolder(tmp_path / "demo", SETTINGS).run([interrupted])
    assert made.is_dir()
    StageFolder(tmp_path / "demo", SETTINGS).run([Stage("make", "Make", (making(made),), os.environ, output=made)])
    assert made.is_dir()


def test_a_folder_that_no_stage_made_stays(tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    (made / "thesis.tex").touch()
    with pytest.raises(UserError, match="FileExistsError"):
        StageFolder(tmp_path / "demo", SETTINGS).run([Stage("make", "Make", (making(made),), os.environ, output=made)])
    assert (made / "thesis.tex").is_file()


def test_other_settings_are_refused_once_a_stage_is_done(tmp_path):
    StageFolder(tmp_path / "demo", SETTINGS).run([appending("first", tmp_path / "marks")])
    with pytest.raises(UserError, match=r"other settings: seed was 0 and is now 1.*--output"):
        StageFolder(tmp_path / "demo", SETTINGS | {"seed": 1})


def test_where_no_stage_was_done_settings_may_be_corrected(tmp_path):
    with pytest.raises(UserError, match="no luck"):
        StageFolder(tmp_path / "demo", SETTINGS).run([failing("first")])
    corrected = SETTINGS | {"seed": 1}
    StageFolder(tmp_path / "demo", corrected).run([appending("first", tmp_path / "marks")])
    assert read_json(tmp_path / "demo" / "stages.json")["settings"] == corrected


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"format_version": 99}',
        '{"format_version": 1}',
        '{"format_version": 1, "settings": {}}',
        '{"format_version": 1, "settings": [], "stages": {}}',
        '{"format_version": 1, "settings": {}, "stages": {"data": {"seconds": 1}}}',
    ],
)
def test_a_damaged_record_is_refused(tmp_path, content):
    (tmp_path / "stages.json").write_text(content)
    with pytest.raises(UserError, match=r"stages\.json"):
        StageFolder(tmp_path, SETTINGS)
    assert (tmp_path / "stages.json").read_text() == content
