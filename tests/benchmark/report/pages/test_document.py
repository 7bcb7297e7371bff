from synthetic import result_row, rows_of, some_rows, write_benchmark

from nnunet_pix2rep.benchmark.report.numbers.analysis import ReportSettings, analyze
from nnunet_pix2rep.benchmark.report.pages.document import build_document
from nnunet_pix2rep.benchmark.report.pages.formatting import format_factor, format_interval, label_of
from nnunet_pix2rep.benchmark.report.pages.full_annotation import full_annotation_table
from nnunet_pix2rep.benchmark.report.reading.results import read_benchmark

SETTINGS = ReportSettings(num_resamples=20)


def analysis_of(folder, rows, **keywords):
    return analyze(read_benchmark(write_benchmark(folder, rows, **keywords)), SETTINGS)


def document_text(analysis):
    sections = build_document(analysis, {})
    return "\n".join(line for section in sections for line in [section.title, *section.paragraphs, *section.bullets])


def test_what_weakens_the_conclusions_is_said(tmp_path):
    (tmp_path / "few").mkdir()
    few = document_text(analysis_of(tmp_path / "few", some_rows(seeds=(0,))))
    assert "the intervals cover the test patients only" in few
    # four patients: 2 / 2^4 = 0.125 can't be below 0.05
    assert "no difference, however large, can be significant" in few
    (tmp_path / "undefined").mkdir()
    rows = [*some_rows(), result_row("scratch", 1, 0, "p1", "", "other case")]
    text = document_text(analysis_of(tmp_path / "undefined", rows))
    assert "rest on 2 draws" in text
    assert "1 value(s) of Dice are undefined" in text
    (tmp_path / "overlap").mkdir()
    splits = {f"2_{seed}": {"train_patients": ["one", name], "train_cases": []} for seed, name in enumerate("xyz")}
    text = document_text(analysis_of(tmp_path / "overlap", some_rows(shots=(2,), seeds=(0, 1, 2)), splits=splits))
    assert "draws of 2 labeled patients share patients" in text
    (tmp_path / "pretraining").mkdir()
    cells = [
        {"method": method, "shots": 1, "seed": seed, "pretraining_folder": f"pretraining/{folder}"}
        for method, folders in (("shared", (0, 0)), ("own", (1, 2)))
        for seed, folder in enumerate(folders)
    ]
    cells += [
        {"method": method, "shots": 1, "seed": seed, "pretraining_folder": None}
        for method in ("scratch", "weights:/a.pth")
        for seed in range(2)
    ]
    rows = some_rows(methods=("scratch", "shared", "own", "weights:/a.pth"), shots=(1,))
    text = document_text(analysis_of(tmp_path / "pretraining", rows, cells=cells))
    assert "one pretraining, whose random numbers no interval covers: shared, weights:/a.pth." in text
    (tmp_path / "many").mkdir()
    patients = [f"p{number:02}" for number in range(20)]
    rows = [row for m in ("scratch", "b") for s in range(5) for row in rows_of(m, 1, s, dict.fromkeys(patients, 0.5))]
    text = document_text(analysis_of(tmp_path / "many", rows))
    assert "can be significant" not in text
    assert "too narrow" not in text


def test_the_method_nearest_to_full_annotation_is_named_for_every_effort(tmp_path):
    parts = {("scratch", 1): 0.4, ("pix2rep", 1): 0.6, ("scratch", 4): 0.7, ("scratch", 8): 0.8}
    rows = [row for key, part in parts.items() for row in rows_of(*key, 0, dict.fromkeys(("p1", "p2"), part))]
    analysis = analysis_of(tmp_path, rows, num_training_patients=8)
    text = document_text(analysis)
    share = "0.600, 75.0 % (75.0 % to 75.0 %) of the 0.800 of full annotation"
    assert f"With 1 labeled patient, 12.5 % of all, at most Dice {share}: pix2rep." in text
    assert "With 4 labeled patients, 50 % of all, at most Dice 0.700, 87.5 %" in text
    assert "scratch has the highest Dice, 0.800 (1 draw)." in text
    assert "Full annotation is one training, whose random numbers no interval covers." in text
    table = full_annotation_table(analysis)
    assert table.rows[0] == ["scratch", "1", "12.5 %", "1", "0.400", "0.800", "50.0 % (50.0 % to 50.0 %)‡"]
    assert table.notes  # one draw
    without = document_text(analysis_of(tmp_path, rows))
    assert "of all, at most" not in without
    assert "Full annotation" not in without


def test_what_lacks_draws_or_patients_is_marked_and_not_named_as_nearest(tmp_path):
    (tmp_path / "draws").mkdir()
    parts = {("scratch", 1, 0): 0.5, ("scratch", 1, 1): 0.5, ("pix2rep", 1, 0): 0.7, ("scratch", 8, 0): 0.8}
    rows = [row for key, part in parts.items() for row in rows_of(*key, dict.fromkeys(("p1", "p2"), part))]
    planned = [{"method": m, "shots": s, "seed": n} for m, s, n in [*parts, ("pix2rep", 1, 1)]]
    analysis = analysis_of(tmp_path / "draws", rows, num_training_patients=8, cells=planned)
    assert "at most Dice 0.500" in document_text(analysis)
    marks = {row[0]: row[-1].lstrip("0123456789.% (to)") for row in full_annotation_table(analysis).rows}
    assert marks == {"scratch": "", "pix2rep": "†‡"}
    (tmp_path / "more").mkdir()
    rows = [*rows_of("scratch", 1, 0, {"p1": 0.9, "p2": 0.9}), *rows_of("scratch", 8, 0, {"p1": 0.8, "p2": 0.8})]
    text = document_text(analysis_of(tmp_path / "more", rows, num_training_patients=8))
    assert "which annotation does not explain" in text


def test_numbers_are_shown_with_their_intervals():
    assert format_interval(0.1234, 0.1, 0.2) == "0.123 (0.100 to 0.200)"
    assert format_interval(0.1234, -0.1, 0.2, signed=True) == "+0.123 (-0.100 to +0.200)"
    assert format_interval(0.1234, None, None) == "0.123"
    assert format_interval(None, None, None) == "–"
    assert format_factor({"relation": ">", "value": 20}) == "> 20"
    assert format_factor({"relation": "=", "value": 2.345}) == "2.35"
    assert label_of("weights:/a/very/long/path/to/checkpoint_final.pth") == "weights:…point_final.pth"
    assert label_of("scratch_same_schedule") == "scratch_same_schedule"
    assert label_of("scratch_same_schedule + random_patients") == "scratch_same_schedule\n+ random_patients"
