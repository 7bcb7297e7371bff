import shlex

import pytest

from nnunet_pix2rep.cli.main import main
from nnunet_pix2rep.nnunet.checkpoints import export, nnssl_import, nnssl_plan
from nnunet_pix2rep.nnunet.checkpoints.nnssl_import import ImportReport
from nnunet_pix2rep.nnunet.checkpoints.nnssl_plan import PLAN_COMMANDS, TRAIN_COMMAND


@pytest.fixture
def exported(monkeypatch, tmp_path):
    """Writes nothing but a small file; returns the arguments of the last export."""
    given = {}

    def export_checkpoint(source, file_format, target, overwrite):
        given.update(source=source, file_format=file_format, overwrite=overwrite)
        target.write_bytes(b"weights")
        return {"network_weights": {}}

    monkeypatch.setattr(export, "export_checkpoint", export_checkpoint)
    return given


def test_the_nnssl_export_says_what_the_chain_leaves_out_and_recommends_better(exported, tmp_path, capsys):
    assert main(["export", "in.pth", "--format", "nnssl", "-o", str(tmp_path / "out.pth")]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "takes only encoder and stem, leaves the decoder random, and is 3D only" in out
    assert "-pretrained_weights takes all of it and is recommended" in out
    assert exported["file_format"] == "nnssl"


def test_the_chains_commands_are_named_where_they_are_and_said_to_be_missing_elsewhere(
    exported, tmp_path, capsys, monkeypatch
):
    arguments = ["export", "in.pth", "--format", "nnssl", "-o", str(tmp_path / "out.pth")]
    monkeypatch.setattr(nnssl_plan, "installed_commands", lambda: [*PLAN_COMMANDS, TRAIN_COMMAND])
    main(arguments)
    assert f"nnUNetv2_plan_like_dynamic -d DATASET_ID -n pix2rep -pc {tmp_path / 'out.pth'}" in capsys.readouterr().out
    monkeypatch.setattr(nnssl_plan, "installed_commands", lambda: [*PLAN_COMMANDS])
    main(arguments)
    assert f"lacks {TRAIN_COMMAND}: they are on nnU-Net's main branch" in capsys.readouterr().out


def test_the_nnunet_export_says_how_to_use_the_file(exported, tmp_path, capsys):
    target = tmp_path / "the out.pth"
    assert main(["export", "in.pth", "--format", "nnunet", "-o", str(target), "--overwrite"]) == 0
    assert shlex.split(capsys.readouterr().out.splitlines()[-1])[-2:] == ["-pretrained_weights", str(target)]
    assert exported["overwrite"] is True


def test_a_format_must_be_chosen(capsys):
    for arguments in ([], ["--format", "onnx"]):
        with pytest.raises(SystemExit):
            main(["export", "in.pth", "-o", "out.pth", *arguments])


def test_the_import_lists_every_key_and_the_next_command(monkeypatch, tmp_path, capsys):
    report = ImportReport(("encoder.a",), ("decoder.b",), {"encoder.c": ((2, 3), (4, 3))}, ("encoder.d",))
    monkeypatch.setattr(nnssl_import, "import_encoder", lambda *_arguments, **_options: report)
    target = tmp_path / "the start.pth"
    assert main(["import", "in.pth", "-d", "Dataset001_A", "-c", "3d_fullres", "-p", "Plans", "-o", str(target)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:5] == [
        "1 weights loaded, 1 skipped, 1 of another shape, 1 missing",
        "  loaded: encoder.a",
        "  skipped: decoder.b",
        "  mismatched, stays random: encoder.c has shape (2, 3) in the checkpoint, (4, 3) in the network",
        "  missing, stays random: encoder.d",
    ]
    trainer = ["-tr", "nnUNetTrainerPix2RepPretrain", "-pretrained_weights", str(target)]
    assert shlex.split(lines[-1]) == ["nnUNetv2_train", "Dataset001_A", "3d_fullres", "FOLD", "-p", "Plans", *trainer]
