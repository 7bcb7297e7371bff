import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nnunet_pix2rep.nnunet.training.finetuning.schedule import FinetuningSchedule, finetuning_factors

progress = st.floats(0, 1)
fractions = st.tuples(st.floats(0, 0.45), st.floats(0, 0.45))


@given(progress, fractions)
def test_factors_lie_between_0_and_1(at, parts):
    assert all(0 <= factor <= 1 for factor in finetuning_factors(at, *parts))


@given(progress, fractions)
def test_the_backbone_rests_exactly_while_the_heads_train_alone(at, parts):
    backbone, heads = finetuning_factors(at, *parts)
    if at < parts[0]:
        assert (backbone, heads) == (0, 1)
    if parts[0] + 1e-9 < at < 1 - 1e-9:
        assert backbone > 0


@given(progress, progress, fractions)
def test_backbone_rises_then_falls_and_heads_never_rise(one, other, parts):
    early, late = sorted((one, other))
    warm = sum(parts)
    (backbone_early, heads_early), (backbone_late, heads_late) = (
        finetuning_factors(at, *parts) for at in (early, late)
    )
    assert heads_late <= heads_early
    if late < warm:
        assert backbone_late >= backbone_early
    if early >= warm:
        assert backbone_late <= backbone_early


@given(progress, fractions)
def test_both_decay_together_after_the_warm_up(at, parts):
    if at >= sum(parts):
        backbone, heads = finetuning_factors(at, *parts)
        assert backbone == heads


@given(fractions)
def test_both_end_at_0(parts):
    assert finetuning_factors(1.0, *parts) == (0, 0)


@given(progress)
def test_without_first_phases_it_is_nnunets_polynomial_decay(at):
    assert finetuning_factors(at, 0.0, 0.0)[0] == pytest.approx((1 - at) ** 0.9)


def test_phases_that_fill_the_training_never_decay():
    assert finetuning_factors(0.95, 0.5, 0.9) == (pytest.approx(0.5), 1)


def test_each_group_has_its_own_peak():
    groups = [{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": 0.0} for _ in range(2)]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    schedule = FinetuningSchedule(optimizer, (0.01, 0.1), 10, head_first_fraction=0.2, warmup_fraction=0.2)
    rates = {}
    for epoch in (0, 3, 4, 10):
        schedule.step(epoch)
        rates[epoch] = tuple(group["lr"] for group in optimizer.param_groups)
    assert rates == {0: (0, 0.1), 3: (pytest.approx(0.005), 0.1), 4: (0.01, 0.1), 10: (0, 0)}
