import pytest

from nnunet_pix2rep.annotation.collect.labels.named_slices import find_named_slices

CASES = ["case_00", "case_03", "odd:1"]


def test_cases_and_slices():
    named = find_named_slices("--option", ["case_00", "case_03:3", "case_03:07", "odd:1", "odd:1:2"], CASES)
    assert named.whole == {"case_00", "odd:1"}
    assert named.of("case_03") == {3, 7}
    assert named.of("odd:1") == {2}
    assert named.of("case_00") == set()
    assert named.problems == []


@pytest.mark.parametrize("name", ["case_01", "case_01:3", "case_03:", "case_03:x", "case_03:-1", ":3", "3", ""])
def test_a_name_that_cannot_be_meant_is_a_problem(name):
    named = find_named_slices("--option", [name], CASES)
    assert (named.whole, named.slices) == (set(), {})
    (problem,) = named.problems
    assert problem.startswith(f"--option {name}: this is no case with a label file here.")
    assert "case_00, case_03, odd:1" in problem
