import errno
import os
import shutil
import stat
from pathlib import Path
from types import SimpleNamespace

import pytest

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import (
    atomic_path,
    check_target,
    describe_os_error,
    read_csv_rows,
    read_json,
    write_json,
)


def test_a_block_that_ends_well_replaces_the_file(tmp_path):
    path = tmp_path / "new" / "result.txt"
    for content in ("first", "second"):
        with atomic_path(path) as temporary:
            temporary.write_text(content)
            assert temporary != path
        assert path.read_text() == content
    assert list(path.parent.iterdir()) == [path]


def test_a_block_that_fails_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "result.txt"
    path.write_text("old")

    def fail():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_final_name_never_shows_a_part_of_the_content(tmp_path):
    path = tmp_path / "result.txt"
    with atomic_path(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()


@pytest.mark.parametrize("name", ["image.nii.gz", "checkpoint.pth", "table.csv", "README", ".hidden", "a.b.c.json"])
def test_the_temporary_name_has_the_same_endings(tmp_path, name):
    with atomic_path(tmp_path / name) as temporary:
        for ending in (".nii.gz", ".pth", ".csv", ".json"):
            assert temporary.name.endswith(ending) == name.endswith(ending)
        assert temporary.parent == tmp_path
    assert (tmp_path / name).exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
def test_the_file_is_as_readable_as_any_other(tmp_path):
    other = tmp_path / "other"
    other.touch()
    with atomic_path(tmp_path / "result") as temporary:
        temporary.touch()
    assert stat.S_IMODE((tmp_path / "result").stat().st_mode) == stat.S_IMODE(other.stat().st_mode)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no umask")
@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_a_link_leaves_the_mode_of_the_file_that_it_leads_to(tmp_path, link):
    """A user's scan that nobody else may read stays so when it gets a second name."""
    scan = tmp_path / "scan"
    scan.write_text("private")
    scan.chmod(0o400)
    with atomic_path(tmp_path / "result") as temporary:
        temporary.unlink()
        link(scan, temporary)
    assert (tmp_path / "result").samefile(scan)
    assert stat.S_IMODE(scan.stat().st_mode) == 0o400


def test_json_returns_as_it_was_written(tmp_path):
    content = {"text": "µm", "list": [1, 2.5, None, True], "nested": {"a": {}}}
    write_json(content, tmp_path / "file.json")
    assert read_json(tmp_path / "file.json") == content


def test_content_that_is_not_json_leaves_the_old_file(tmp_path):
    write_json([1], tmp_path / "file.json")
    with pytest.raises(TypeError):
        write_json({"a": object()}, tmp_path / "file.json")
    assert read_json(tmp_path / "file.json") == [1]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [None, b"", b'{"a": ', b"\xff\xfe\x00"])
def test_missing_and_damaged_json_is_named(tmp_path, content):
    path = tmp_path / "file.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"file\.json"):
        read_json(path)


def test_a_name_of_the_greatest_length_is_written(tmp_path):
    path = tmp_path / f"{'ü' * 125}.json"
    write_json({}, path)
    assert read_json(path) == {}


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("unexpected pos")])
def test_a_full_disk_names_the_file_and_leaves_none(tmp_path, monkeypatch, error):
    """Python names no file in such an error, and torch reports a RuntimeError."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=0))
    path = tmp_path / "weights.pth"

    def fail():
        with atomic_path(path):
            raise error

    with pytest.raises(OSError, match="No space left") as raised:
        fail()
    assert describe_os_error(raised.value) == f"There is no space left for {path}. Make room, or write to another disk."
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["result.json", "./result.json", "../here/result.json"])
def test_an_error_names_the_file_as_it_was_given(tmp_path, monkeypatch, name):
    """The temporary file beside it has an absolute name."""
    (tmp_path / "here" / "result.json").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(OSError) as raised:  # IsADirectoryError, on Windows PermissionError
        write_json({}, name)
    assert raised.value.filename == str(Path(name))
    assert [path.name for path in Path.cwd().iterdir()] == ["result.json"]


def test_a_full_disk_is_described_where_the_file_has_no_name():
    message = describe_os_error(OSError(errno.ENOSPC, "No space left on device"))
    assert message == (
        "There is no space left for the output or for a temporary file. Make room, or write to another disk."
    )
    assert describe_os_error(OSError(errno.EACCES, "Permission denied")) is None


def test_a_target_is_a_new_file_or_one_that_may_be_replaced(tmp_path):
    target = tmp_path / "weights.pth"
    assert check_target(target, False, "weights.pth", source=tmp_path / "missing.pth") == target
    target.touch()
    with pytest.raises(UserError, match=r"weights\.pth exists\..*--overwrite"):
        check_target(target, False, "weights.pth")
    assert check_target(target, True, "weights.pth") == target
    with pytest.raises(UserError, match="the source itself"):
        check_target(target, True, "weights.pth", source=target)
    with pytest.raises(UserError, match=r"is a folder\. Name a file, such as .*weights\.pth"):
        check_target(tmp_path, True, "weights.pth")


@pytest.mark.parametrize("exists", [True, False])
def test_a_target_that_is_a_link_means_the_file_that_it_leads_to(tmp_path, exists):
    file, link = tmp_path / "store" / "weights.pth", tmp_path / "link.pth"
    if exists:
        write_json("old", file)
    link.symlink_to(Path("store") / "weights.pth")
    write_json("new", check_target(link, True, "weights.pth"))
    assert link.is_symlink()
    assert read_json(file) == "new"


def test_a_link_in_a_dataset_never_leads_to_the_original(tmp_path):
    """Datasets are made of links to the user's files: what replaces a link must not be written through it."""
    original = tmp_path / "original.json"
    write_json("the user's", original)
    link = tmp_path / "link.json"
    link.symlink_to(original)
    write_json("ours", link)
    assert read_json(original) == "the user's"
    assert not link.is_symlink()


def test_an_error_that_is_not_about_the_place_is_not_described(tmp_path):
    assert describe_os_error(OSError(errno.EINVAL, "Invalid argument", str(tmp_path))) is None
    assert describe_os_error(OSError("no number")) is None
    assert describe_os_error(FileExistsError(errno.EEXIST, "File exists", str(tmp_path))) is None


def test_rows_of_a_table_that_a_spreadsheet_wrote(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("\ufeff case , patient,group\n a_1 ,A\n,,\nb_1,B, x \n", encoding="utf-8")
    rows = read_csv_rows(path, ("case", "patient"), "Write it.")
    assert rows == [{"case": "a_1", "patient": "A", "group": ""}, {"case": "b_1", "patient": "B", "group": "x"}]


def test_a_table_that_cannot_be_used_is_refused(tmp_path):
    path = tmp_path / "table.csv"
    with pytest.raises(UserError, match=r"table\.csv does not exist\. Write it\."):
        read_csv_rows(path, ("case",), "Write it.")
    path.write_text("name,patient\na,A\n")
    with pytest.raises(UserError, match=r"table\.csv has no column 'case', only name, patient\."):
        read_csv_rows(path, ("case",), "Write it.")
    path.write_bytes("case\nMünchen\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"table\.csv is not UTF-8 text"):
        read_csv_rows(path, ("case",), "Write it.")
