import pytest

from nnunet_pix2rep.benchmark.design.annotation_sets import check_selectors, patients_left_out
from nnunet_pix2rep.benchmark.design.settings import BenchmarkSettings
from nnunet_pix2rep.errors import UserError

PATIENTS = [f"p{number:02d}" for number in range(30)]


def test_draws_of_a_selector_that_the_slices_determine_leave_out_other_patients():
    left_out = [patients_left_out(PATIENTS, "coverage", draw, 7) for draw in range(5)]
    assert {len(names) for names in left_out} == {6}
    assert len({tuple(names) for names in left_out}) == 5
    assert left_out[0] == patients_left_out(reversed(PATIENTS), "middle", 0, 7)  # of all selectors and orders alike
    assert left_out[0] != patients_left_out(PATIENTS, "coverage", 0, 8)
    assert patients_left_out(["only"], "coverage", 0, 7) == []


def test_draws_of_a_random_selector_leave_out_nobody():
    assert patients_left_out(PATIENTS, "random_patients", 3, 7) == []


def test_selectors_are_named_once():
    assert check_selectors(["random", "middle", "random"]) == ("random", "middle")
    with pytest.raises(UserError, match=r"some of random, random_patients, .* names best"):
        check_selectors(["random", "best"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budgets": (6,), "shots": (1,)}, "give one of them"),
        ({"selectors": ("random",)}, "give --budget too"),
        ({"budgets": (6, 0)}, "from 1 up"),
        ({"budgets": ("ALL",)}, "or all, but is ALL"),
        ({"budgets": (6,), "selectors": ("best",)}, "names best"),
        ({"budgets": (6,), "seeds": 0}, "--seeds must be at least 1"),
    ],
)
def test_bad_budgets_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        BenchmarkSettings("Dataset001_A", "2d", **changes)
