"""The report of what has finished: ``results.json``, ``figures/``, ``report.md`` and ``report.html``."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from nnunet_pix2rep.benchmark.report.numbers.analysis import ReportSettings, analyze
from nnunet_pix2rep.benchmark.report.pages.document import CURVE_FIGURE, PAIRED_FIGURE, PANEL_FIGURE, build_document
from nnunet_pix2rep.benchmark.report.pages.figures import plot_curves, plot_paired, save_figure
from nnunet_pix2rep.benchmark.report.pages.panel_patients import choose_patients
from nnunet_pix2rep.benchmark.report.pages.panels import plot_panel, read_rows
from nnunet_pix2rep.benchmark.report.reading.results import BenchmarkResults, read_benchmark
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import atomic_path, write_json

FIGURES_FOLDER = "figures"
REPORT_FILE, HTML_FILE, ANALYSIS_FILE = "report.md", "report.html", "results.json"


def write_report(folder: Path, settings: ReportSettings | None = None, with_images: bool = True) -> Path:
    """Writes the report into the benchmark folder, over an earlier one.

    The same results give the same report, whatever has been written before.

    Args:
        folder: The benchmark folder; the benchmark may be unfinished.
        settings: Reference method and statistics; None: the defaults.
        with_images: Whether the report may show images of patients (the qualitative panel).

    Returns:
        Path of ``report.md``.

    Raises:
        UserError: the folder holds no results, or malformed ones.
    """
    folder = Path(folder)
    settings = settings or ReportSettings()
    benchmark = read_benchmark(folder)
    analysis = analyze(benchmark, settings)
    pictures = _plot_figures(benchmark, analysis, with_images)
    sections = build_document(analysis, pictures)
    write_json(analysis, folder / ANALYSIS_FILE)
    content = {"title": f"Benchmark on {analysis['benchmark']['dataset']}", "sections": sections}
    _render(folder / REPORT_FILE, "report.md.jinja", content | {"figures_folder": FIGURES_FOLDER})
    embedded = {
        file: base64.b64encode((folder / FIGURES_FOLDER / file).read_bytes()).decode("ascii")
        for file in pictures
        if (folder / FIGURES_FOLDER / file).is_file()
    }
    _render(folder / HTML_FILE, "report.html.jinja", content | {"embedded": embedded})
    return folder / REPORT_FILE


def _plot_figures(benchmark: BenchmarkResults, analysis: Mapping[str, Any], with_images: bool) -> dict[str, str]:
    """Draws what can be drawn and removes what an earlier report drew and this one can't.

    Returns:
        File -> itself, or why it is left out.
    """

    def panel() -> Figure | None:
        if not with_images:
            return None
        choice = choose_patients(benchmark, analysis["settings"]["reference"])
        return plot_panel(read_rows(benchmark, choice), choice, benchmark.description.get("labels", {}))

    figures: dict[str, Callable[[], Figure | None]] = {
        CURVE_FIGURE: lambda: plot_curves(analysis),
        PAIRED_FIGURE: lambda: plot_paired(analysis),
        PANEL_FIGURE: panel,
    }
    drawn = {}
    for name, draw in figures.items():
        file = benchmark.folder / FIGURES_FOLDER / name
        file.unlink(missing_ok=True)
        try:
            figure = draw()
        except UserError as error:
            # Images and predictions may have been moved away. The numbers do not depend on them; the report says so.
            drawn[name] = str(error).rstrip(".")
            continue
        if figure is not None:
            save_figure(figure, file)
            drawn[name] = name
    return drawn


def _render(file: Path, template: str, content: Mapping[str, Any]) -> None:
    environment = Environment(
        loader=PackageLoader("nnunet_pix2rep.benchmark.report.pages"),
        autoescape=lambda name: name is not None and ".html" in name,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["markdown_cell"] = lambda text: text.replace("|", "\\|").replace("\n", " ")
    text = environment.get_template(template).render(content)
    with atomic_path(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
