"""What the documentation names is there."""

import importlib.util
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FOLDER_OF_A_MACHINE = re.compile(r"(?<![\w.}])/(?:home|opt|root|tmp|Users|usr|work)/")
RESULTS = sorted(
    file for file in (ROOT / "docs" / "benchmarks").rglob("*") if file.suffix in {".csv", ".json", ".txt", ".md"}
)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
WRITTEN_BY_COMMANDS = {"report.md", "settings.md"}
SITE = [page for page in PAGES if ROOT / "docs" in page.parents and page.name not in WRITTEN_BY_COMMANDS]
SUMMARIES = [
    ROOT / "docs" / "experiments" / "README.md",
    ROOT / "docs" / "explanation" / "few-slices-of-many-patients.md",
    *sorted((ROOT / "docs" / "how-to" / "questions").glob("*.md")),
]
FIGURE = re.compile(r"\d\.\d{3}(?!\d)")
PLACES = (ROOT, ROOT / "nnunet_pix2rep")  # what paths are written from
SOURCES = ("nnunet_pix2rep", "trainers", "dataset_conversion", "tests", "docs")
CODE_BLOCK = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
SOURCE_FILE = re.compile(r"`((?:[\w.-]+/)*[\w.-]+\.py)`")
FOLDER = re.compile(r"`((?:[\w-]+/)+)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)")
OF_THE_READER = re.compile(r"my_|My|DatasetXXX")  # files that a how-to page has its reader make
OF_NNUNET = {"imagesTr", "imagesTs", "imagesUn", "labelsTr", "labelsTs"}  # folders of datasets
TOP_FOLDERS = {path.name for place in PLACES for path in place.iterdir() if path.is_dir()}


def text_of(page):
    return CODE_BLOCK.sub("", page.read_text(encoding="utf-8"))


def is_there(path):
    """Whether a path exists; a name without a folder may lie anywhere among the sources and tests."""
    if "/" not in path:
        return any(next((ROOT / folder).rglob(path), None) for folder in SOURCES) or (ROOT / path).exists()
    return any((place / path).exists() for place in PLACES)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_source_file_that_a_page_names_exists(page):
    named = {path for path in SOURCE_FILE.findall(text_of(page)) if not OF_THE_READER.search(path)}
    assert {path for path in named if not is_there(path)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_folder_of_the_repository_that_a_page_names_exists(page):
    named = {path for path in FOLDER.findall(text_of(page)) if path.partition("/")[0] in TOP_FOLDERS - OF_NNUNET}
    assert {path for path in named if not is_there(path)} == set()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page):
    links = {target for target in LINK.findall(text_of(page)) if ":" not in target}
    assert {target for target in links if not (page.parent / target).exists()} == set()


@pytest.mark.parametrize("page", SITE, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_line_of_a_page_is_long_but_those_of_tables(page):
    lines = page.read_text(encoding="utf-8").splitlines()
    assert {number: line for number, line in enumerate(lines, 1) if len(line) > 120 and line.lstrip()[0] != "|"} == {}


@pytest.mark.parametrize("page", SITE, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_page_leads_back_to_the_list_that_it_is_in(page):
    above = page.parent.parent if page.name == "README.md" else page.parent
    lists = {(folder / "README.md").resolve() for folder in (above, page.parent.parent) if folder != ROOT}
    links = {(page.parent / target).resolve() for target in LINK.findall(text_of(page))}
    assert page == ROOT / "docs" / "README.md" or lists & links


@pytest.mark.parametrize("page", SUMMARIES, ids=lambda page: str(page.relative_to(ROOT)))
def test_figures_of_a_summary_are_those_of_the_diary_or_of_a_benchmark(page):
    sources = [ROOT / "docs" / "experiments" / "diary.md", *(ROOT / "docs" / "benchmarks").rglob("*.md")]
    measured = {figure for source in sources for figure in FIGURE.findall(source.read_text(encoding="utf-8"))}
    assert set(FIGURE.findall(page.read_text(encoding="utf-8"))) - measured == set()


def test_every_folder_of_the_site_has_a_list_and_few_pages():
    folders = {page.parent for page in SITE}
    assert {folder for folder in folders if not (folder / "README.md").is_file()} == set()
    assert {folder for folder in folders if len(list(folder.glob("*.md"))) > 12} == set()


def test_the_picture_of_the_architecture_names_files_that_exist(monkeypatch):
    script = ROOT / "docs" / "scripts" / "plot_architecture.py"
    monkeypatch.syspath_prepend(str(script.parent))  # as for a script, which finds its neighbors
    spec = importlib.util.spec_from_file_location(script.stem, script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    named = {
        name
        for steps in module.WALKS.values()
        for step in steps
        if not step.file.startswith("nnUNetv2_")
        for name in step.file.split(", ")
    }
    files = {path.relative_to(ROOT).as_posix() for path in (ROOT / "nnunet_pix2rep").rglob("*.py")}
    assert {name for name in named if not any(f"/{name}" in f"/{file}" for file in files)} == set()


@pytest.mark.parametrize("file", RESULTS, ids=lambda file: str(file.relative_to(ROOT / "docs" / "benchmarks")))
def test_no_result_names_a_folder_of_the_machine_that_it_is_from(file):
    lines = file.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if FOLDER_OF_A_MACHINE.search(line)] == []
