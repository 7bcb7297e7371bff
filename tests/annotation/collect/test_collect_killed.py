"""``collect`` is killed and typed again: the datasets end as if it had run through."""

import itertools
import shutil

import pytest
from work_folders import CHOSEN, names_in

from nnunet_pix2rep.annotation.collect import run, take

STEPS = ("move_images", "add_patients", "update_dataset_json", "preprocess_cases", "remove_from_pools", "_write_record")


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("step", STEPS)
def test_a_run_that_is_killed_before_a_step_is_completed_by_the_same_command(scans, monkeypatch, step):
    check_killed(scans, monkeypatch, run, step)


@pytest.mark.parametrize(
    ("module", "function", "calls"),
    [(take, "_link_or_copy", 1), (take, "preprocess_case", 1), (take, "preprocess_case", 3), (take, "write_json", 0)],
)
def test_a_run_that_is_killed_within_a_step_is_completed_too(scans, monkeypatch, module, function, calls):
    check_killed(scans, monkeypatch, module, function, calls)


def check_killed(scans, monkeypatch, module, function, calls=0):
    uninterrupted = scans.root.parent / "uninterrupted"
    scans.prepare(CHOSEN)
    shutil.copytree(scans.root, uninterrupted)
    original, counter = getattr(module, function), itertools.count()

    def killed(*arguments, **options):
        if next(counter) == calls:
            raise Killed
        return original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, function, killed)
        with pytest.raises(Killed):
            scans.collect()
    for case in names_in(scans.raw / "imagesTr"):  # whatever nnU-Net takes for a case has its label
        assert (scans.raw / "labelsTr" / case.replace("_0000", "")).is_file()
    scans.collect()
    broken = scans.contents()
    for name in ("nnUNet_raw", "nnUNet_preprocessed"):
        shutil.rmtree(scans.root / name)
        shutil.copytree(uninterrupted / name, scans.root / name)
    scans.collect()
    assert broken == scans.contents()
