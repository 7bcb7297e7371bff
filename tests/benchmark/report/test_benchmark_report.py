import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from synthetic import DATASET, PATIENTS, rows_of, run_folder_of, some_rows, write_benchmark

from nnunet_pix2rep.benchmark.report.numbers.analysis import ReportSettings, analyze
from nnunet_pix2rep.benchmark.report.pages.panel_patients import choose_patients
from nnunet_pix2rep.benchmark.report.pages.panels import read_rows
from nnunet_pix2rep.benchmark.report.reading.results import read_benchmark
from nnunet_pix2rep.benchmark.report.write import write_report
from nnunet_pix2rep.benchmark.schema import RESULT_COLUMNS, RUN_COLUMNS
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json, write_json

SETTINGS = ReportSettings(num_resamples=100)
DOCUMENTATION = Path(__file__).resolve().parents[3] / "docs" / "reference" / "benchmark-files.md"


class Page(HTMLParser):
    """Checks that every element is closed where it should be, and keeps the sources of images and links."""

    VOID = ("meta", "img", "link", "br")

    def __init__(self, text):
        super().__init__()
        self.open, self.sources, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)
        self.sources += [value for name, value in attributes if name in ("src", "href")]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, text):
        self.text.append(text)


def test_the_report_is_written_whole(tmp_path):
    write_benchmark(tmp_path, some_rows())
    path = write_report(tmp_path, SETTINGS)
    assert path == tmp_path / "report.md"
    markdown = path.read_text(encoding="utf-8")
    for figure in re.findall(r"\]\((.*?\.png)\)", markdown):
        assert (tmp_path / figure).read_bytes().startswith(b"\x89PNG")
    assert markdown.count(".png)") == 2
    for method in ("scratch", "pix2rep"):
        for shots in (1, 4):
            for seed in (0, 1):
                assert f"| {run_folder_of(method, shots, seed)} |" in markdown


def test_the_tables_have_as_many_cells_in_every_row(tmp_path):
    write_benchmark(tmp_path, some_rows(methods=("scratch", "weights:/a|b.pth"), surface_dice=0.5, hd95=3))
    lines = write_report(tmp_path, SETTINGS).read_text(encoding="utf-8").splitlines()
    tables = "\n".join(lines).split("\n\n")
    checked = 0
    for table in (block.splitlines() for block in tables if block.startswith("|")):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table}) == 1, table
        checked += 1
    assert checked >= 7


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(tmp_path):
    write_benchmark(tmp_path, some_rows(methods=("scratch", "weights:/<b>&.pth")))
    write_report(tmp_path, SETTINGS)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert len(page.sources) == 2
    assert all(source.startswith("data:image/png;base64,") for source in page.sources)
    assert "weights:/<b>&.pth" in page.text


def test_results_json_holds_every_number_and_the_way_to_it(tmp_path):
    write_benchmark(tmp_path, some_rows())
    write_report(tmp_path, SETTINGS)
    content = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert {cell["run_folder"] for cell in content["cells"]} == {
        run_folder_of(method, shots, seed) for method in ("scratch", "pix2rep") for shots in (1, 4) for seed in (0, 1)
    }
    assert content["settings"] == {"reference": "scratch", "confidence": 0.95, "num_resamples": 100, "seed": 12345}
    assert content["benchmark"] == read_json(tmp_path / "benchmark.json")


def test_the_documentation_names_every_key_and_column(tmp_path):
    text = DOCUMENTATION.read_text(encoding="utf-8")
    rows = some_rows(hd95=3, surface_dice=0.5)
    folder = write_benchmark(tmp_path, rows, methods=["scratch", "pix2rep", "no"], num_training_patients=4)
    analysis = analyze(read_benchmark(folder), SETTINGS)
    keys = {*analysis, *analysis["settings"], *analysis["completeness"], *RESULT_COLUMNS, *RUN_COLUMNS}
    tables = ("dice", "dice_per_class", "comparisons", "full_annotation", "annotation_saving", "hd95", "surface_dice")
    for table in (*tables, "cells"):
        keys |= {*analysis[table][0]}
    assert not {key for key in keys if f"`{key}`" not in text}


def test_the_same_results_give_the_same_report(tmp_path):
    write_benchmark(tmp_path, some_rows())
    write_report(tmp_path, SETTINGS)
    names = ("report.md", "report.html", "results.json", "figures/dice_curves.png")
    first = {name: (tmp_path / name).read_bytes() for name in names}
    write_report(tmp_path, SETTINGS)
    assert {name: (tmp_path / name).read_bytes() for name in names} == first


def test_an_unfinished_benchmark_says_what_is_missing(tmp_path):
    rows = [row for row in some_rows() if (row["method"], row["shots"], row["seed"]) != ("pix2rep", 4, 1)]
    write_benchmark(tmp_path, rows)
    markdown = write_report(tmp_path, SETTINGS).read_text(encoding="utf-8")
    assert "Trainings finished: 7 of 8" in markdown
    assert "- pix2rep, 4 labeled patients, draw 1: not run yet" in markdown
    assert "†" in markdown


def test_one_finished_cell_is_enough(tmp_path):
    write_benchmark(tmp_path, rows_of("scratch", 1, 0, {"p1": 0.5}), methods=["scratch", "pix2rep"])
    markdown = write_report(tmp_path, SETTINGS).read_text(encoding="utf-8")
    assert "Nothing could be compared with scratch" in markdown
    assert "There is one test patient: no interval can be given." in markdown
    assert not (tmp_path / "figures" / "paired_patients.png").exists()
    Page((tmp_path / "report.html").read_text(encoding="utf-8"))


def write_image(file, array):
    file.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((1.5, 1.5, 8.0))
    SimpleITK.WriteImage(image, str(file))


@pytest.fixture
def with_images(tmp_path):
    """A benchmark whose images, truth and predictions are there: a bright box, of which methods find more or less."""
    generator = np.random.default_rng(0)
    rows = some_rows(shots=(1,), seeds=(0,))
    for patient in PATIENTS:
        truth = np.zeros((3, 24, 30), dtype=np.uint8)
        truth[1, 8:16, 10:20] = 1
        image = (truth * 50 + generator.normal(100, 5, truth.shape)).astype(np.float32)
        write_image(tmp_path / "raw" / "imagesTr" / f"{patient}_ED_0000.nii.gz", image)
        write_image(tmp_path / "raw" / "labelsTr" / f"{patient}_ED.nii.gz", truth)
        for method in ("scratch", "pix2rep"):
            folder = tmp_path / run_folder_of(method, 1, 0) / "predictions"
            write_image(folder / f"{patient}_ED.nii.gz", np.roll(truth, 2, axis=2))
    write_json({"file_ending": ".nii.gz", "labels": {"background": 0, "LV": 1}}, tmp_path / "raw" / "dataset.json")
    folders = {"images_folder": str(tmp_path / "raw" / "imagesTr"), "labels_folder": str(tmp_path / "raw" / "labelsTr")}
    return write_benchmark(tmp_path, rows, **folders)


def test_patients_are_shown_where_their_images_are_found(with_images):
    markdown = write_report(with_images, SETTINGS).read_text(encoding="utf-8")
    assert "(figures/qualitative.png)" in markdown
    assert (with_images / "figures" / "qualitative.png").is_file()
    assert len(Page((with_images / "report.html").read_text(encoding="utf-8")).sources) == 3


@pytest.mark.parametrize("place", ["preprocessed", "cells/pix2rep/shots_1/seed_0/predictions"])
def test_the_way_to_read_images_is_found_beside_references_or_predictions(with_images, place):
    (with_images / "preprocessed").mkdir()
    references = (with_images / "raw" / "labelsTr").rename(with_images / "preprocessed" / "gt_segmentations")
    (with_images / "raw" / "dataset.json").rename(with_images / place / "dataset.json")
    description = read_json(with_images / "benchmark.json") | {"labels_folder": str(references)}
    write_json(description, with_images / "benchmark.json")
    benchmark = read_benchmark(with_images)
    rows = read_rows(benchmark, choose_patients(benchmark, "scratch"))
    assert [row.truth.sum() for row in rows] == [80] * 3
    assert rows[0].pixel_size == (1.5, 1.5)


def test_no_patient_is_shown_where_that_is_not_wanted(with_images):
    write_report(with_images, SETTINGS)
    markdown = write_report(with_images, SETTINGS, with_images=False).read_text(encoding="utf-8")
    assert "qualitative" not in markdown
    assert not (with_images / "figures" / "qualitative.png").exists()


def test_missing_predictions_cost_the_panel_and_nothing_else(with_images):
    write_report(with_images, SETTINGS)
    for file in with_images.glob("cells/pix2rep/**/*.nii.gz"):
        file.unlink()
    markdown = write_report(with_images, SETTINGS).read_text(encoding="utf-8")
    assert re.search(r"Left out: .*pix2rep.*_ED\.nii\.gz does not exist\.", markdown)
    assert not (with_images / "figures" / "qualitative.png").exists()
    assert "Mean Dice (95% interval)" in markdown


def test_without_results_nothing_is_written(tmp_path):
    with pytest.raises(UserError):
        write_report(tmp_path, SETTINGS)
    assert not list(tmp_path.iterdir())


def test_the_title_names_the_dataset(tmp_path):
    write_benchmark(tmp_path, some_rows())
    assert write_report(tmp_path, SETTINGS).read_text(encoding="utf-8").startswith(f"# Benchmark on {DATASET}\n")
