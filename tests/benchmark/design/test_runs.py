"""With which command a training goes on, by the checkpoints that it left."""

import torch

from nnunet_pix2rep.benchmark.design.runs import next_training_command, put_damaged_checkpoints_aside
from nnunet_pix2rep.files import write_json


def save(run, name):
    run.output_folder.mkdir(parents=True, exist_ok=True)
    torch.save({"network_weights": {}}, run.output_folder / name)


def test_a_training_goes_on_from_what_is_there(make):
    benchmark = make()
    scratch, pix2rep = benchmark.matrix.cells
    fresh = next_training_command(pix2rep, "cpu")
    assert fresh[-2:] == ("-pretrained_weights", str(benchmark.matrix.pretrainings[0].final_checkpoint))
    save(pix2rep, "checkpoint_best.pth")
    assert next_training_command(pix2rep, "cpu") == fresh  # it was chosen by the validation set
    save(pix2rep, "checkpoint_latest.pth")
    assert next_training_command(pix2rep, "cpu") == (*fresh[:-2], "--c")
    save(pix2rep, "checkpoint_final.pth")
    assert next_training_command(pix2rep, "cpu") == (*fresh[:-2], "--val")
    write_json({}, pix2rep.validation / "summary.json")
    assert next_training_command(pix2rep, "cpu") is None
    assert "-pretrained_weights" not in next_training_command(scratch, "cpu")


def test_half_a_checkpoint_is_put_aside(make):
    (cell,) = make(methods=("scratch",)).matrix.cells
    for name in ("checkpoint_latest.pth", "checkpoint_final.pth"):
        save(cell, name)
    cell.final_checkpoint.write_bytes(cell.final_checkpoint.read_bytes()[:100])
    put_damaged_checkpoints_aside(cell)
    assert next_training_command(cell, "cpu")[-1] == "--c"
    latest = cell.output_folder / "checkpoint_latest.pth"
    latest.write_bytes(b"")
    save(cell, "checkpoint_previous.pth")
    put_damaged_checkpoints_aside(cell)
    assert next_training_command(cell, "cpu")[-1] == "--c"  # our trainers take the one before
    (cell.output_folder / "checkpoint_previous.pth").unlink()
    put_damaged_checkpoints_aside(cell)
    assert "--c" not in next_training_command(cell, "cpu")
