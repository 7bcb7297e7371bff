import errno
import os
import shutil
import stat
from types import SimpleNamespace

import pytest

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path, describe_os_error, read_csv_rows, read_json, write_json


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
