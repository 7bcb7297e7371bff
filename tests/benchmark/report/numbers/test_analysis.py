import json
import math

import numpy as np
import pytest
from synthetic import rows_of, write_benchmark

from nnunet_pix2rep.benchmark.report.numbers.analysis import ReportSettings, analyze
from nnunet_pix2rep.benchmark.report.reading.results import read_benchmark
from nnunet_pix2rep.errors import UserError

FEW_RESAMPLES = ReportSettings(num_resamples=300)
PATIENTS = "abcdef"


def analysis_of(folder, rows, settings=FEW_RESAMPLES, **keywords):
    return analyze(read_benchmark(write_benchmark(folder, rows, **keywords)), settings)


def constant(method, shots, seed, dice, patients=PATIENTS):
    return rows_of(method, shots, seed, dict.fromkeys(patients, dice))


def rows_by_hand():
    """scratch 0.2, 0.4, 0.8 with 1, 2, 8 patients; pix2rep 0.6 and 0.9 with 1 and 2; everyone alike."""
    curve = {("scratch", 1): 0.2, ("scratch", 2): 0.4, ("scratch", 8): 0.8, ("pix2rep", 1): 0.6, ("pix2rep", 2): 0.9}
    return [
        row for (method, shots), dice in curve.items() for seed in (0, 1) for row in constant(method, shots, seed, dice)
    ]


def entry(rows, method, shots):
    (found,) = [row for row in rows if (row["method"], row["shots"]) == (method, shots)]
    return found


def test_means_comparisons_and_saving_by_hand(tmp_path):
    analysis = analysis_of(tmp_path, rows_by_hand())
    mean = entry(analysis["dice"], "pix2rep", 1)
    assert [mean[key] for key in ("mean", "low", "high")] == pytest.approx([0.6] * 3)
    assert mean["interval_covers"] == "patients and draws"
    assert mean["mean_per_draw"] == pytest.approx([0.6, 0.6])
    comparison = entry(analysis["comparisons"], "pix2rep", 1)
    assert [comparison[key] for key in ("difference", "low", "high")] == pytest.approx([0.4] * 3)
    # six patients, all better: 2 / 2^6; two comparisons
    assert comparison["p_value"] == pytest.approx(2 / 64)
    assert comparison["p_holm"] == pytest.approx(4 / 64)
    assert (comparison["better"], comparison["worse"], comparison["significant"]) == (6, 0, False)
    saving = entry(analysis["annotation_saving"], "pix2rep", 1)
    # half of the way from 2 to 8 patients, on the logarithmic axis: 4
    assert saving["factor"] == {"relation": "=", "value": pytest.approx(4)}
    assert (saving["low"]["value"], saving["high"]["value"]) == pytest.approx((4, 4))


def test_a_score_that_scratch_never_gets_to_is_more_than_its_largest_number(tmp_path):
    saving = entry(analysis_of(tmp_path, rows_by_hand())["annotation_saving"], "pix2rep", 2)
    assert saving["factor"] == {"relation": ">", "value": 4}
    assert saving["patients_needed"] == {"relation": ">", "value": 8}
    assert saving["low"] == saving["high"] == {"relation": ">", "value": 4}


def test_a_score_below_scratch_is_fewer_than_its_smallest_number(tmp_path):
    rows = [*constant("scratch", 2, 0, 0.5), *constant("scratch", 4, 0, 0.6), *constant("worse", 4, 0, 0.4)]
    saving = entry(analysis_of(tmp_path, rows)["annotation_saving"], "worse", 4)
    assert saving["factor"] == {"relation": "<", "value": 0.5}


def test_the_interval_of_the_factor_may_be_open_at_one_end(tmp_path):
    generator = np.random.default_rng(0)
    rows = [
        row
        for method, shots, mean in (("scratch", 1, 0.3), ("scratch", 4, 0.6), ("pix2rep", 1, 0.58))
        for row in rows_of(method, shots, 0, {patient: mean + generator.uniform(-0.2, 0.2) for patient in PATIENTS})
    ]
    saving = entry(analysis_of(tmp_path, rows)["annotation_saving"], "pix2rep", 1)
    assert saving["low"]["relation"] == "="
    assert saving["high"] == {"relation": ">", "value": 4}
    assert saving["low"]["value"] <= 4


def test_comparisons_use_the_draws_that_both_have(tmp_path):
    rows = [*constant("scratch", 1, 0, 0.2), *constant("scratch", 1, 1, 0.8), *constant("pix2rep", 1, 0, 0.3)]
    analysis = analysis_of(tmp_path, rows)
    comparison = entry(analysis["comparisons"], "pix2rep", 1)
    assert comparison["difference"] == pytest.approx(0.1)  # against draw 0, and not against the mean of 0.5
    assert (comparison["draws"], comparison["draws_left_out"]) == ([0], [1])
    assert comparison["interval_covers"] == "patients"
    assert entry(analysis["annotation_saving"], "pix2rep", 1)["provisional"]
    assert analysis["completeness"]["missing"] == [
        {"method": "pix2rep", "shots": 1, "seed": 1, "status": "not run yet"}
    ]


def test_comparisons_use_the_patients_that_both_have(tmp_path):
    rows = [*rows_of("scratch", 1, 0, {"a": 0.1, "b": 0.5, "c": ""}), *rows_of("pix2rep", 1, 0, {"a": 0.3, "c": 0.9})]
    comparison = entry(analysis_of(tmp_path, rows)["comparisons"], "pix2rep", 1)
    assert comparison["num_patients"] == 1
    assert comparison["difference"] == pytest.approx(0.2)
    assert comparison["low"] is None


def test_methods_without_a_common_cell_are_not_compared(tmp_path):
    rows = [*constant("scratch", 1, 0, 0.2), *constant("pix2rep", 2, 0, 0.3), *constant("pix2rep", 1, 1, 0.3)]
    assert analysis_of(tmp_path, rows)["comparisons"] == []


def test_holm_counts_all_methods_and_shots(tmp_path):
    methods = ("pix2rep", "pix2rep_v2", "masked_autoencoder")
    rows = [row for method in ("scratch", *methods) for shots in (1, 2) for row in constant(method, shots, 0, 0.5)]
    rows += [row for shots in (1, 2) for row in constant("better", shots, 0, 0.9)]
    comparison = entry(analysis_of(tmp_path, rows)["comparisons"], "better", 1)
    assert comparison["p_holm"] == pytest.approx(8 * 2 / 64)
    assert comparison["smallest_p_holm"] == pytest.approx(8 * 2 / 64)


def test_the_reference_can_be_chosen(tmp_path):
    analysis = analysis_of(tmp_path, rows_by_hand(), ReportSettings(reference="pix2rep", num_resamples=100))
    assert {row["method"] for row in analysis["comparisons"]} == {"scratch"}
    assert entry(analysis["comparisons"], "scratch", 1)["difference"] == pytest.approx(-0.4)


def test_an_unknown_reference_is_refused_and_an_unfinished_one_is_not(tmp_path):
    with pytest.raises(UserError, match="'nnunet' is no method of this benchmark, which has scratch, pix2rep"):
        analysis_of(tmp_path, rows_by_hand(), ReportSettings(reference="nnunet"))
    analysis = analysis_of(tmp_path, constant("pix2rep", 1, 0, 0.5), methods=["scratch", "pix2rep"])
    assert analysis["comparisons"] == analysis["annotation_saving"] == []
    assert len(analysis["dice"]) == 1


@pytest.mark.parametrize("wrong", [{"confidence": 95}, {"confidence": 0}, {"num_resamples": 0}])
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))):
        ReportSettings(**wrong)


def test_further_metrics_only_where_they_were_measured(tmp_path):
    analysis = analysis_of(tmp_path, rows_by_hand())
    assert analysis["surface_dice"] == analysis["hd95"] == []
    rows = rows_of("scratch", 1, 0, {"a": 0.5, "b": 0.6}, hd95=4.0) + rows_of("scratch", 1, 0, {"c": 0.0})
    (row,) = analysis_of(tmp_path, rows)["hd95"]
    assert (row["mean"], row["num_patients"], row["undefined_values"]) == (4.0, 2, 1)


def test_one_patient_has_no_interval(tmp_path):
    rows = rows_of("scratch", 1, 0, {"a": 0.5}) + rows_of("pix2rep", 1, 0, {"a": 0.6})
    analysis = analysis_of(tmp_path, rows)
    assert [row["low"] for row in analysis["dice"] + analysis["comparisons"]] == [None] * 3
    assert analysis["annotation_saving"][0]["low"] is None
    assert analysis["comparisons"][0]["p_value"] == 1


def test_the_content_is_json_whatever_is_missing(tmp_path):
    """Random holes in a random matrix: no NaN or infinity, which JSON does not have, and no numpy types."""
    generator = np.random.default_rng(0)
    for trial in range(5):
        folder = tmp_path / str(trial)
        folder.mkdir()
        rows = [
            row
            for method in ("scratch", "pix2rep", "other")
            for shots in (1, 2)
            for seed in range(2)
            for row in rows_of(method, shots, seed, dict(zip(PATIENTS, generator.random(6), strict=True)))
        ]
        kept = [row | ({"dice": ""} if generator.random() < 0.3 else {}) for row in rows if generator.random() < 0.6]
        analysis = analysis_of(folder, kept, ReportSettings(num_resamples=50), methods=["scratch", "pix2rep", "other"])
        assert json.loads(json.dumps(analysis, allow_nan=False)) == analysis


def test_the_same_results_give_the_same_numbers(tmp_path):
    generator = np.random.default_rng(1)
    rows = [
        row
        for method in ("scratch", "pix2rep")
        for seed in range(2)
        for row in rows_of(method, 1, seed, dict(zip(PATIENTS, generator.random(6), strict=True)))
    ]
    first = analysis_of(tmp_path, rows)
    assert analysis_of(tmp_path, rows[::-1], methods=["scratch", "pix2rep"]) == first
    other = analysis_of(tmp_path, rows, ReportSettings(num_resamples=300, seed=1))
    assert not math.isclose(other["dice"][0]["low"], first["dice"][0]["low"])
    # another method changes no interval of those that were there
    more = analysis_of(tmp_path, rows + constant("other", 1, 0, 0.5))
    assert more["dice"][:2] == first["dice"]
