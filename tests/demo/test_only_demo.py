import os

import pytest

from nnunet_pix2rep.demo.only_demo import LOCK_FILE, only_demo
from nnunet_pix2rep.errors import UserError


@pytest.mark.skipif(os.name == "nt", reason="locks are POSIX")
def test_a_second_demo_is_kept_out_until_the_first_has_ended(tmp_path):
    folder = tmp_path / "demo"
    for _ in range(2):
        with only_demo(folder), only_demo(tmp_path / "other"):
            refused = pytest.raises(UserError, match=rf"Another demo is working in .*{os.getpid()}.*--output")
            with refused, only_demo(folder):
                pass


def test_a_folder_with_other_files_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").touch()
    for folder in (tmp_path, tmp_path / "thesis.tex"):
        with pytest.raises(UserError, match=r"holds files, but no stages\.json"), only_demo(folder):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_folder_that_holds_nothing_but_a_lock_is_taken(tmp_path):
    with only_demo(tmp_path):
        pass
    assert [path.name for path in tmp_path.iterdir()] == [LOCK_FILE]
    with only_demo(tmp_path):
        pass
