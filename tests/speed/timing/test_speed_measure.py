import time

import pytest
import torch

from nnunet_pix2rep.speed.timing.measure import alternate, fit_exponent, median_ratio, medians, peak_memory
from nnunet_pix2rep.speed.timing.timer import HostTimer

CPU = torch.device("cpu")
MEGABYTE = 2**20


def test_contestants_take_turns_and_the_warm_up_is_not_timed():
    calls = []
    seconds = alternate({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2, HostTimer(CPU), warm_up=1)
    assert calls == ["a", "b"] * 3
    assert {name: len(values) for name, values in seconds.items()} == {"a": 2, "b": 2}


def test_each_call_is_timed_alone():
    ticks = iter(range(100))
    seconds = alternate({"a": lambda: None, "b": lambda: next(ticks)}, 3, HostTimer(CPU, lambda: next(ticks)))
    assert seconds == {"a": [1, 1, 1], "b": [2, 2, 2]}


def test_sleep_counts_on_the_wall_but_not_for_the_processor():
    function = {"sleep": lambda: time.sleep(0.05)}
    assert alternate(function, 1, HostTimer(CPU), warm_up=0)["sleep"][0] >= 0.05
    assert alternate(function, 1, HostTimer(CPU, time.process_time), warm_up=0)["sleep"][0] < 0.05


def test_the_median_ratio_is_that_of_neighbors_in_time():
    """A machine that becomes ten times slower half-way changes neither contestant's place."""
    assert median_ratio([2, 20, 200], [1, 10, 100]) == 2
    assert medians({"a": [3, 1, 100]}) == {"a": 3}


def test_peak_memory_is_the_most_that_is_held_at_a_time():
    def three_of_which_two_at_a_time():
        first = torch.zeros(MEGABYTE // 4)
        second = first + 1
        del first
        return second * 2

    assert 2 * MEGABYTE <= peak_memory(three_of_which_two_at_a_time, CPU) < 2.1 * MEGABYTE


def test_peak_memory_leaves_out_what_was_there_before():
    before = torch.zeros(MEGABYTE)
    assert peak_memory(lambda: before.add_(1), CPU) < MEGABYTE / 10


def test_what_is_freed_first_does_not_lower_the_peak():
    earlier = []
    peak_memory(lambda: earlier.append(torch.zeros(MEGABYTE)), CPU)

    def free_and_allocate():
        earlier.clear()
        return torch.zeros(MEGABYTE // 4)

    assert MEGABYTE <= peak_memory(free_and_allocate, CPU) < 1.1 * MEGABYTE


def test_peak_memory_sees_the_backward_pass():
    weights = torch.zeros(MEGABYTE // 4, requires_grad=True)

    def step():
        weights.grad = None
        (weights.exp() * 2).sum().backward()

    assert 2 * MEGABYTE <= peak_memory(step, CPU) <= 5 * MEGABYTE


def test_peak_memory_of_an_unknown_device_is_refused():
    with pytest.raises(ValueError, match="meta"):
        peak_memory(lambda: None, torch.device("meta"))


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0])
def test_the_exponent_of_a_power_is_found(exponent):
    assert fit_exponent([1, 4, 16], [5 * size**exponent for size in (1, 4, 16)]) == pytest.approx(exponent, abs=1e-9)


def test_one_size_gives_no_exponent():
    with pytest.raises(ValueError, match="two"):
        fit_exponent([3], [1])
