"""What the scripts that draw pictures of the documentation share."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

FOLDER = Path(__file__).resolve().parents[1] / "explanation" / "pictures"


def save_drawing(
    figure: Figure, name: str, *, dots_per_inch: int, fonts_as_paths: bool = False, description: str | None = None
) -> None:
    """Writes ``name.svg`` and ``name.png`` in docs/explanation/pictures; the same drawing gives the same bytes.

    Args:
        figure: The drawing.
        name: File name without ending.
        dots_per_inch: Of the PNG file.
        fonts_as_paths: Draw letters as shapes, so that the SVG file looks the same where the font is missing.
        description: Kept inside both files.
    """
    in_png = {"Software": None} | ({} if description is None else {"Description": description})
    with mpl.rc_context({"svg.hashsalt": "nnunet_pix2rep", "svg.fonttype": "path" if fonts_as_paths else "none"}):
        figure.savefig(FOLDER / f"{name}.svg", metadata={"Date": None, "Description": description}, facecolor="white")
        figure.savefig(FOLDER / f"{name}.png", dpi=dots_per_inch, facecolor="white", metadata=in_png)
