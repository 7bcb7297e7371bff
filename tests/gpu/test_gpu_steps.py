"""A training step under AMP is the CPU's in float32, as far as half precision goes."""

import pytest
import torch
from gpu_training import (
    CONFIGURATIONS,
    PRETRAINERS,
    Finetune,
    LinearProbe,
    MeanTeacher,
    copy_weights,
    first_batch,
    initialized,
    loss_and_gradients,
    relative_distance,
    start_teacher,
    use_precision,
)

pytestmark = pytest.mark.gpu

CPU = torch.device("cpu")
# In parts of the loss, and of the norm of all gradients. In bfloat16 on a CPU the gradients of these tiny networks are
# off by up to 0.20 (InfoNCE in 3D), the losses by less than 0.01. float16 has three bits more, an eighth of the error.
# A GPU rounds in other places: twice as much is allowed in bfloat16, four times in float16. Another batch's gradients
# are further away.
LOSS_TOLERANCE = {"float16": 0.01, "bfloat16": 0.05}
GRADIENT_TOLERANCE = {"float16": 0.1, "bfloat16": 0.4}


def compare(trainer, reference, batch, precision):
    if trainer.device.type == "cpu":
        precision = "bfloat16"
    loss, gradients = loss_and_gradients(trainer, batch)
    expected_loss, expected = loss_and_gradients(reference, batch)
    assert loss == pytest.approx(expected_loss, rel=LOSS_TOLERANCE[precision])
    assert len(gradients) == len(expected) > 0
    assert expected.norm() > 0
    assert relative_distance(gradients, expected) < GRADIENT_TOLERANCE[precision]


@pytest.mark.parametrize("precision", LOSS_TOLERANCE)
@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("loss", PRETRAINERS)
def test_a_pretraining_step_is_that_of_the_cpu(tiny, device, loss, configuration, precision):
    trainer, reference = (initialized(PRETRAINERS[loss], tiny, place, configuration) for place in (device, CPU))
    copy_weights(reference, trainer)
    use_precision(trainer, precision)
    compare(trainer, reference, first_batch(reference), precision)


@pytest.mark.parametrize("configuration", CONFIGURATIONS)
@pytest.mark.parametrize("trainer_class", [Finetune, LinearProbe, MeanTeacher])
def test_a_fine_tuning_step_is_that_of_the_cpu(tiny, device, trainer_class, configuration):
    """In nnU-Net's own AMP, which on the CPU is float32."""
    trainer, reference = (initialized(trainer_class, tiny, place, configuration) for place in (device, CPU))
    copy_weights(reference, trainer)
    if trainer_class is MeanTeacher:
        views = first_batch(initialized(PRETRAINERS["barlow_twins"], tiny, CPU, configuration))
        for one in (trainer, reference):
            start_teacher(one, views)
    compare(trainer, reference, first_batch(reference), "float16")


def test_the_tolerances_tell_one_batch_from_another(tiny):
    reference = initialized(PRETRAINERS["barlow_twins"], tiny, CPU)
    batches, _ = reference.get_dataloaders()
    gradients = [loss_and_gradients(reference, next(batches))[1] for _ in range(2)]
    assert relative_distance(*gradients) > 1.5 * max(GRADIENT_TOLERANCE.values())
