import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnunet_pix2rep.config import OptimizationConfig, PretrainingConfig, ViewsConfig
from nnunet_pix2rep.diagnostics.monitoring import (
    ADVICE,
    MAX_DEAD_DIMENSIONS,
    MAX_INTENSITY_R2,
    MAX_POSITION_R2,
    MAX_UNIFORMITY,
    MIN_EFFECTIVE_RANK,
    PATIENCE,
    crossed_thresholds,
    find_warnings,
    phase_of,
)

HEALTHY = {
    "effective_rank": 26.0,
    "dead_dimensions": 0.0,
    "uniformity": -2.3,
    "retrieval_accuracy": 0.04,
    "intensity_r2": 0.1,
    "position_r2": 0.0,
}
NUM_ROWS = 1024
NUM_CHANNELS = 256
BEYOND = [
    ("collapse", "effective_rank", MIN_EFFECTIVE_RANK - 0.1),
    ("collapse", "dead_dimensions", MAX_DEAD_DIMENSIONS + 0.1),
    ("collapse", "uniformity", MAX_UNIFORMITY + 0.05),
    ("collapse", "retrieval_accuracy", 1 / NUM_ROWS),
    ("intensity", "intensity_r2", MAX_INTENSITY_R2 + 0.1),
    ("position", "position_r2", MAX_POSITION_R2 + 0.1),
]


def history_of(epochs):
    return {name: [values[name] for values in epochs] for name in HEALTHY}


def warn(epochs, num_epochs=200):
    return find_warnings(history_of(epochs), num_epochs, NUM_ROWS, PretrainingConfig())


def test_a_healthy_training_has_no_warning():
    assert crossed_thresholds(HEALTHY, NUM_ROWS, NUM_CHANNELS) == {}
    assert warn([HEALTHY] * 200) == []


@pytest.mark.parametrize(("kind", "name", "value"), BEYOND)
def test_each_threshold_gives_its_kind_of_warning(kind, name, value):
    assert crossed_thresholds(HEALTHY | {name: value}, NUM_ROWS, NUM_CHANNELS) == {kind: {name: value}}
    (warning,) = warn([HEALTHY | {name: value}] * PATIENCE)
    assert (warning.kind, warning.epoch, warning.crossed) == (kind, PATIENCE - 1, {name: value})


def test_a_narrow_head_is_measured_by_its_width():
    assert crossed_thresholds(HEALTHY | {"effective_rank": 3.0}, NUM_ROWS, 8) == {}
    assert "collapse" in crossed_thresholds(HEALTHY | {"effective_rank": 1.9}, NUM_ROWS, 8)


def test_a_warning_needs_some_epochs_in_a_row():
    bad = HEALTHY | {"effective_rank": 1.0}
    assert warn([bad] * (PATIENCE - 1)) == []
    assert warn(([bad] * (PATIENCE - 1) + [HEALTHY]) * 20) == []


def test_different_signs_of_collapse_make_one_streak():
    signs = [HEALTHY | {"effective_rank": 1.0}, HEALTHY | {"uniformity": 0.0}, HEALTHY | {"dead_dimensions": 1.0}]
    assert [warning.kind for warning in warn(signs)] == ["collapse"]


def test_a_kind_is_warned_of_once_in_each_phase():
    bad = HEALTHY | {"intensity_r2": 0.9, "position_r2": 0.9}
    warnings = warn([bad] * 200)
    assert [(warning.kind, warning.epoch) for warning in warnings] == [
        (kind, epoch) for epoch in (PATIENCE - 1, 20, 180) for kind in ("intensity", "position")
    ]


@given(st.lists(st.sampled_from([HEALTHY, HEALTHY | {"uniformity": 0.0}]), max_size=40), st.integers(0, 40))
def test_a_continued_training_neither_repeats_nor_forgets(epochs, resumed_at):
    so_far = warn(epochs[:resumed_at], 40)
    assert warn(epochs, 40)[: len(so_far)] == so_far


def test_epochs_that_are_not_complete_and_values_that_are_missing_are_left_out():
    history = history_of([HEALTHY | {"effective_rank": 1.0}] * PATIENCE)
    history["uniformity"].pop()
    assert find_warnings(history, 10, NUM_ROWS, PretrainingConfig()) == []
    nothing = dict.fromkeys(HEALTHY, math.nan)
    assert warn([nothing] * 10) == []


@pytest.mark.parametrize(
    ("num_epochs", "phases"),
    [(1, ["middle"]), (5, ["middle"] * 5), (10, ["start", *["middle"] * 8, "end"])],
)
def test_phases(num_epochs, phases):
    assert [phase_of(epoch, num_epochs) for epoch in range(num_epochs)] == phases


def test_the_advice_names_settings_and_what_they_are_now():
    settings = PretrainingConfig(optimization=OptimizationConfig(initial_lr=0.5), views=ViewsConfig(mirror_axes=()))
    for kind, text in ADVICE.items():
        message = text.format(**vars(settings))
        assert "{" not in message, kind
    assert "initial_lr (now 0.5)" in ADVICE["collapse"].format(**vars(settings))
    assert "mirror_axes (now ())" in ADVICE["position"].format(**vars(settings))
