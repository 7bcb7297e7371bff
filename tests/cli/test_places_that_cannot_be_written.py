"""No command shows a traceback, or leaves anything, where it may not write."""

import errno
import json
import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
import SimpleITK
import torch
from in_context_folders import make_folders, raw_of
from tiny_training import CASES, PLANS, make_tiny_dataset, make_trainer, prepare_for_training

from nnunet_pix2rep.cli.main import SUBCOMMANDS, main
from nnunet_pix2rep.files import write_json
from nnunet_pix2rep.nnunet.checkpoints.export import export_checkpoint
from nnunet_pix2rep.nnunet.training.pretraining.pix2rep import nnUNetTrainerPix2RepV2Pretrain

ONLY_READ = ("trainers", "settings", "doctor")
# {out} stands for a new file or folder in a place that cannot be written to; the others write into the dataset.
WRITE = {
    "new_dataset": "-i {root}/scans -d 902 -n New --labels a",
    "plan_unlabeled": "-d 903 -c 2d --no_pp -np 1",
    "plan": f"-d 901 -c 2d -p {PLANS} -o NewPlans",
    "split": "-d 901 --shots 1 --validation 2",
    "add_unlabeled": "-d 901 -i {root}/scans",
    "preprocess_unlabeled": f"-d 901 -c 2d -p {PLANS} -i {{root}}/scans -np 1",
    "features": "{root}/2d.pth -i {root}/query -o {out} -device cpu",
    "suggest": f"-d 903 -c 2d -p {PLANS} --slices 1 --selector random -o {{out}} -device cpu",
    "collect": "-d 903 -i {root}/finished",
    "segment_in_context": "{root}/2d.pth -s {root}/images -l {root}/labels -i {root}/query -o {out} -device cpu",
    "propagate": "{root}/2d.pth -i {root}/series.nii.gz -l {root}/label.nii.gz --frame 1 -o {out}.nii.gz -device cpu",
    "benchmark": f"-d 901 -c 2d -p {PLANS} --methods scratch --shots 1 --test 2 -o {{out}} --dry-run",
    "speed": "--synthetic -o {out}.json --only head_and_loss --repetitions 1",
    "export": "{root}/3d.pth --format nnunet -o {out}.pth",
    "import": f"{{root}}/nnssl.pth -d 901 -c 3d_fullres -p {PLANS} -o {{out}}.pth",
    "demo": "--output {out}",
}
WITH_OUTPUT = [name for name, arguments in WRITE.items() if "{out}" in arguments]
NOBODY = 65534


def arguments_of(name, root, out):
    return [name, *(part.format(root=root, out=out) for part in WRITE[name].split())]


def tree(folder):
    """Everything below a folder, with sizes and times: equal before and after where nothing was written."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


@pytest.fixture(scope="module")
def place():
    """A dataset, scans and checkpoints in a folder that others may read; pytest's own folders are private."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        root = Path(folder)
        root.chmod(0o755)
        dataset = make_tiny_dataset(root, configurations=("2d", "3d_fullres"))
        with pytest.MonkeyPatch.context() as training:
            prepare_for_training(training, dataset, root)
            for short, configuration in (("2d", "2d"), ("3d", "3d_fullres")):
                trainer = make_trainer(nnUNetTrainerPix2RepV2Pretrain, dataset, configuration=configuration)
                trainer.initialize()
                trainer.configure_rotation_dummyDA_mirroring_and_inital_patch_size()
                trainer.save_checkpoint(str(root / f"{short}.pth"))
        export_checkpoint(root / "3d.pth", "nnssl", root / "nnssl.pth")
        make_folders(raw_of(dataset), root)
        scan = SimpleITK.ReadImage(str(raw_of(dataset) / "imagesTr" / f"{CASES[0]}_0000.nii.gz"))
        (root / "scans").mkdir()
        SimpleITK.WriteImage(scan + 1, str(root / "scans" / "new_0000.nii.gz"))
        unlabeled = root / "nnUNet_raw" / "Dataset903_Unlabeled"
        for number in range(2):
            (unlabeled / "imagesUn").mkdir(parents=True, exist_ok=True)
            SimpleITK.WriteImage(scan + number, str(unlabeled / "imagesUn" / f"case{number}_0000.nii.gz"))
        labels = {"background": 0, "a": 1, "ignore": 2}
        write_json(
            {"channel_names": {"0": "MRI"}, "labels": labels, "numTraining": 0, "file_ending": ".nii.gz"},
            unlabeled / "dataset.json",
        )
        preprocessed = dataset.with_name(unlabeled.name)
        preprocessed.mkdir()
        for file in (dataset / f"{PLANS}.json", unlabeled / "dataset.json"):
            shutil.copy(file, preprocessed)
        finished = scan * 0 + 2
        finished[:, :, 3:5] = 1
        finished[:5, :5, 3:5] = 0
        (root / "finished").mkdir()
        SimpleITK.WriteImage(SimpleITK.Cast(finished, SimpleITK.sitkUInt8), str(root / "finished" / "case0.nii.gz"))
        SimpleITK.WriteImage(SimpleITK.JoinSeries([scan, scan + 1]), str(root / "series.nii.gz"))
        shutil.copy(raw_of(dataset) / "labelsTr" / f"{CASES[0]}.nii.gz", root / "label.nii.gz")
        for name in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            patch.setenv(name, str(root / name))
        patch.setenv("OMP_NUM_THREADS", "1")
        yield root


@contextmanager
def not_writable(root):
    """Takes away the permission to write in a folder; yields what a command must be run with to notice it.

    Root may do everything to its own files, and more: it gives the folder away and runs commands without its privilege.
    """
    everything = [root, *root.rglob("*")]
    if os.geteuid() != 0:
        folders = [path for path in everything if path.is_dir() and not path.is_symlink()]
        for folder in folders:
            folder.chmod(0o555)
        try:
            yield []
        finally:
            for folder in folders:
                folder.chmod(0o755)
        return
    if shutil.which("setpriv") is None:
        pytest.skip("root may write everywhere, and there is no setpriv to take its privilege away")
    for path in everything:
        os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    try:
        yield ["setpriv", "--bounding-set=-dac_override,-dac_read_search,-fowner"]
    finally:
        for path in everything:
            os.chown(path, 0, 0, follow_symlinks=False)


@pytest.fixture(scope="module")
def outcome(place):
    """How each command ends for a user who may write nowhere; and what was there before."""
    if os.name == "nt":
        pytest.skip("folders cannot be protected like this on Windows")
    names = [*WRITE, *ONLY_READ]
    commands = [arguments_of(name, place, place / "new") if name in WRITE else [name] for name in names]
    with not_writable(place) as prefix:
        before = tree(place)
        process = subprocess.run(
            [*prefix, sys.executable, str(Path(__file__).with_name("run_commands.py"))],
            input=json.dumps(commands),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    return dict(zip(names, json.loads(process.stdout.splitlines()[-1]), strict=True)), before


def test_every_command_is_tried():
    assert {*WRITE, *ONLY_READ} == set(SUBCOMMANDS), "add new commands to WRITE or ONLY_READ"


@pytest.mark.slow
@pytest.mark.parametrize("name", WRITE)
def test_a_folder_of_another_user_is_one_sentence(name, outcome, place):
    result = outcome[0][name]
    lines = [line for line in result["err"].strip().splitlines() if line.startswith(f"nnunet_pix2rep {name}: error: ")]
    assert result["exit_code"] == 1, result["err"]
    assert "Traceback" not in result["err"]
    assert len(lines) == 1
    assert str(place) in lines[0]
    assert "ermi" in lines[0], "the message says that it is about permissions"


@pytest.mark.slow
@pytest.mark.parametrize("name", ONLY_READ)
def test_commands_that_only_read_need_no_permission(name, outcome):
    result = outcome[0][name]
    assert result["exit_code"] in (0, 1)
    assert "Traceback" not in result["err"]


@pytest.mark.slow
def test_nothing_is_written_by_another_user(outcome, place):
    assert tree(place) == outcome[1]


@pytest.mark.parametrize("name", WITH_OUTPUT)
def test_a_file_in_the_place_of_a_folder(name, place, capsys):
    before = tree(place)
    assert main(arguments_of(name, place, place / "label.nii.gz" / "below" / "new")) == 1
    assert f"{place / 'label.nii.gz'} is a file where a folder should be" in capsys.readouterr().err
    assert tree(place) == before


@pytest.mark.parametrize("name", WITH_OUTPUT)
def test_a_name_that_is_too_long(name, place, capsys):
    before = tree(place)
    assert main(arguments_of(name, place, place / ("ü" * 130))) == 1
    assert "too long" in capsys.readouterr().err
    assert tree(place) == before


@pytest.mark.parametrize(("name", "folder"), [("add_unlabeled", "nnUNet_raw"), ("preprocess_unlabeled", "")])
def test_a_file_where_the_dataset_needs_a_folder(name, folder, place, capsys):
    dataset = place / (folder or "nnUNet_preprocessed") / "Dataset901_TinyTraining"
    blocked = dataset / ("imagesUn" if folder else f"{PLANS}_2d_unlabeled")
    blocked.touch()
    try:
        before = tree(dataset)
        assert main(arguments_of(name, place, "")) == 1
        assert str(blocked) in capsys.readouterr().err
        assert tree(dataset) == before
    finally:
        blocked.unlink()


@pytest.mark.parametrize(
    ("number", "words"),
    [(errno.ENOSPC, "no space left"), (errno.EDQUOT, "no space left"), (errno.EROFS, "read-only file system")],
)
@pytest.mark.parametrize("name", ["plan", "split", "export"])
def test_a_disk_that_takes_nothing(name, number, words, place, capsys, monkeypatch):
    """As the system reports it while the content of a file is written: without the name of the file."""

    def refuse(*_arguments, **_options):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(torch, "save", refuse)
    before = tree(place)
    assert main(arguments_of(name, place, place / "new")) == 1
    error = capsys.readouterr().err
    assert words in error
    assert str(place) in error
    assert {path: value for path, value in tree(place).items() if "." in path} == {
        path: value for path, value in before.items() if "." in path
    }


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
@pytest.mark.parametrize("name", ["settings", "trainers"])
def test_an_output_that_goes_to_a_full_disk_is_one_sentence(name):
    """A long output, which fails while it is printed, and a short one, which fails at the end."""
    command = [sys.executable, "-m", "nnunet_pix2rep.cli.main", name]
    with Path("/dev/full").open("w") as full:
        process = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert process.returncode == 1
    (line,) = process.stderr.splitlines()
    assert line.startswith(f"nnunet_pix2rep {name}: error: There is no space left for the output")


def test_errors_that_are_no_fault_of_the_user_keep_their_traceback(place, monkeypatch):
    def fail(_path):
        raise OSError(errno.EINVAL, "Invalid argument", "x")

    monkeypatch.setattr("nnunet_pix2rep.nnunet.data.dataset_folders.read_json", fail)
    with pytest.raises(OSError, match="Invalid argument"):
        main(["split", "-d", "901", "--shots", "1"])
