from nnunet_pix2rep.speed.timing.time_limit import EXPECTED_OTHERWISE, EXPECTED_SECONDS, TimeLimit


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_without_a_limit_everything_begins():
    limit = TimeLimit(None)
    assert limit.allows("pretraining", "a")
    assert limit.left_out == []


def test_what_is_not_expected_to_end_in_time_is_left_out_and_named():
    clock = Clock()
    limit = TimeLimit(60.0, clock=clock)
    assert limit.allows("scaling", "scaling")
    clock.now += 60.0 - EXPECTED_OTHERWISE + 1
    assert not limit.allows("scaling", "scaling of 3d")
    assert limit.left_out == ["scaling of 3d (it would have passed the time limit of 60 s)"]


def test_what_has_been_measured_replaces_what_was_expected():
    clock = Clock()
    limit = TimeLimit(EXPECTED_SECONDS["pretraining_compiled"] + 1, clock=clock)
    assert limit.allows("pretraining_compiled", "2d")
    limit.took("pretraining_compiled", 300.0)
    limit.took("pretraining_compiled", 2.0)
    assert not limit.allows("pretraining_compiled", "3d")
    assert limit.allows("pretraining", "3d")


def test_the_time_before_the_first_measurement_counts():
    assert not TimeLimit(60.0, start=0.0, clock=Clock()).allows("loader", "loader")
