from nnunet_pix2rep.annotation.collect.labels.drawings import as_recorded, recorded_drawings, unite
from nnunet_pix2rep.nnunet.data.annotation_record import AnnotatedCase, AnnotationRound


def taken(digests, axis=0):
    return AnnotationRound(None, {"case_00": AnnotatedCase(axis, [], "content", digests)})


def test_the_drawings_of_all_rounds_count_also_as_earlier_versions_recorded_them():
    rounds = [taken({"3": "a"}), taken({"3": "b c", "7": "d"}), taken({})]
    assert recorded_drawings(rounds, "case_00", 0) == {"3": {"a", "b", "c"}, "7": {"d"}}
    assert recorded_drawings(rounds, "case_01", 0) == {}


def test_slices_across_another_axis_are_others():
    assert recorded_drawings([taken({"3": "a"}), taken({"3": "b"}, axis=1)], "case_00", 1) == {"3": {"b"}}


def test_a_record_gives_back_what_was_put_in():
    drawings = {"3": {"b", "a"}, "7": {"c"}}
    assert as_recorded(drawings) == {"3": "a b", "7": "c"}
    assert unite(as_recorded(drawings)) == drawings
