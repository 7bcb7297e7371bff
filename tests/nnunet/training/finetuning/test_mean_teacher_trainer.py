import math
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_training import CASES, assert_equal_weights, differing, make_trainer, weights_of

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.training.finetuning.mean_teacher import (
    Pix2RepMeanTeacherTrainer,
    consistency,
    ramp_up,
    update_teacher,
)


class FromScratch(Pix2RepMeanTeacherTrainer):
    needs_pretrained_weights = False


def final_of(trainer):
    return load_checkpoint_file(Path(trainer.output_folder) / "checkpoint_final.pth")


# ------------------------------------------------------------------------------------------------------------ equations


@given(st.lists(st.floats(-5, 5), min_size=1, max_size=8), st.floats(0, 0.999))
def test_the_teacher_is_the_moving_average_of_the_student(values, decay):
    teacher, student = torch.nn.Linear(1, 1, bias=False).double(), torch.nn.Linear(1, 1, bias=False).double()
    expected = teacher.weight.item()
    for step, value in enumerate(values, start=1):
        torch.nn.init.constant_(student.weight, value)
        update_teacher(teacher, student, decay, step)
        factor = min(1 - 1 / (step + 1), decay)
        expected = factor * expected + (1 - factor) * value
        assert teacher.weight.item() == pytest.approx(expected, abs=1e-9)


def test_early_steps_average_all_students_alike():
    teacher, student = torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)
    values = [teacher.weight.item()]
    for step in range(1, 6):
        torch.nn.init.constant_(student.weight, step)
        values.append(step)
        update_teacher(teacher, student, 0.999, step)
    assert teacher.weight.item() == pytest.approx(sum(values) / 6, rel=1e-5)


def test_tensors_that_a_planned_network_names_several_times_are_averaged_once(tiny):
    trainer = make_trainer(FromScratch, tiny)
    trainer.initialize()
    student = trainer.network
    teacher = deepcopy(student)
    before = weights_of(teacher)
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.add_(1)
    update_teacher(teacher, student, 0.9, step=1000)
    assert any(key.startswith("decoder.encoder.") for key in before)
    for key, value in teacher.state_dict().items():
        torch.testing.assert_close(value, before[key] + 0.1, msg=key)


def test_ramp_up():
    assert ramp_up(0) == pytest.approx(math.exp(-5))
    assert ramp_up(0.5) == pytest.approx(math.exp(-1.25))
    assert ramp_up(1) == ramp_up(7) == 1


@pytest.mark.parametrize("has_regions", [True, False])
def test_consistency_compares_probabilities(has_regions):
    student, teacher = torch.randn(2, 3, 4, 4), torch.randn(2, 3, 4, 4)
    probabilities = torch.sigmoid if has_regions else lambda logits: torch.softmax(logits, dim=1)
    expected = torch.nn.functional.mse_loss(probabilities(student), probabilities(teacher))
    torch.testing.assert_close(consistency(student, teacher, has_regions), expected)
    assert consistency(student, student, has_regions) == 0


def test_softmax_consistency_ignores_a_common_shift_and_sigmoid_does_not():
    logits = torch.randn(1, 3, 4, 4)
    assert consistency(logits, logits + 1, has_regions=False) == pytest.approx(0, abs=1e-12)
    assert consistency(logits, logits + 1, has_regions=True) > 1e-3


# ------------------------------------------------------------------------------------------------------------- training


class Watched(FromScratch):
    """Keeps the students after all steps, and the batches of views."""

    def on_train_start(self):
        super().on_train_start()
        self.students, self.views = [weights_of(self.network)], []
        unlabeled = self._unlabeled
        self._unlabeled = iter(lambda: self.views.append(next(unlabeled)) or self.views[-1], None)

    def train_step(self, batch):
        output = super().train_step(batch)
        self.students.append(weights_of(self.network))
        return output


def test_what_is_saved_and_shown_is_the_average_of_all_students(tiny):
    trainer = make_trainer(Watched, tiny, finetuning={"ema_decay": 0.999})
    trainer.run_training()
    saved = final_of(trainer)["network_weights"]
    assert len(trainer.students) == 7
    for key in saved:
        mean = torch.stack([student[key] for student in trainer.students]).mean(dim=0)
        torch.testing.assert_close(saved[key], mean, msg=key)
    assert differing(saved, weights_of(trainer.network))  # after the training the network is the student again


def test_both_views_show_the_same_place(tiny):
    plain = dict.fromkeys(("bias_field", "noise", "blur", "brightness", "contrast", "low_resolution"), 0.0)
    plain |= dict.fromkeys(("inverted_gamma", "gamma", "inversion", "multiscale"), 0.0)
    settings = {f"{name}_probability": value for name, value in plain.items()}
    trainer = make_trainer(Watched, tiny, pretraining={"views": settings}, finetuning={"num_epochs": 1})
    trainer.run_training()
    for views in trainer.views:
        first, second = views["images"].chunk(2)
        torch.testing.assert_close(first, second, rtol=0, atol=1e-4)


def test_images_are_those_without_annotation_outside_the_validation_set(tiny):
    trainer = make_trainer(Watched, tiny)
    trainer.run_training()
    drawn = {key for views in trainer.views for key in views["keys"]}
    assert drawn <= set(CASES[2:4])
    assert final_of(trainer)[RECORD_KEY]["cases"] == list(CASES[:4])


def test_labels_of_images_without_annotation_are_not_read(own_tiny):
    for case in CASES[2:4]:
        for file in own_tiny.glob(f"TinyPlans_2d/{case}*"):
            if file.name != f"{case}.b2nd":
                file.unlink()
    trainer = make_trainer(FromScratch, own_tiny, finetuning={"num_epochs": 1})
    trainer.run_training()
    assert Path(trainer.output_folder, "checkpoint_final.pth").is_file()


def test_a_fold_that_annotates_everything_is_refused(tiny):
    with pytest.raises(UserError, match="annotates all images outside its validation set"):
        make_trainer(FromScratch, tiny, fold=1).run_training()


def test_the_teacher_validates_in_nnunet(tiny):
    predicted_with = []

    class Validating(FromScratch):
        def validation_step(self, batch):
            predicted_with.append(weights_of(self.network))
            return super().validation_step(batch)

    trainer = make_trainer(Validating, tiny, finetuning={"num_epochs": 1})
    trainer.run_training()
    assert_equal_weights(predicted_with[0], final_of(trainer)["network_weights"])


def test_resuming_restores_student_teacher_and_steps(tiny):
    trainer = make_trainer(FromScratch, tiny)
    trainer.run_training()
    resumed = make_trainer(FromScratch, tiny)
    resumed.load_checkpoint(str(Path(trainer.output_folder) / "checkpoint_final.pth"))
    assert_equal_weights(weights_of(resumed.network), weights_of(trainer.network))
    assert_equal_weights(weights_of(resumed.teacher), weights_of(trainer.teacher))
    assert resumed._steps == 6


def test_a_checkpoint_written_while_the_teacher_is_shown_keeps_the_student(tiny):
    trainer = make_trainer(FromScratch, tiny)
    trainer.run_training()
    student = weights_of(trainer.network)
    trainer._show_teacher()
    assert_equal_weights(trainer.checkpoint_content(3)[RECORD_KEY]["student_weights"], student)


def test_a_checkpoint_of_another_trainer_is_refused(tiny, pretrained_checkpoint):
    with pytest.raises(UserError, match="is not a checkpoint of a Mean Teacher"):
        make_trainer(FromScratch, tiny).load_checkpoint(str(pretrained_checkpoint))
