"""``overview.html``: what was chosen and what it stands for, in one file that needs no other."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from nnunet_pix2rep.annotation.selectors import SlicePool
from nnunet_pix2rep.annotation.suggest.choose import Choice
from nnunet_pix2rep.annotation.suggest.output.viewers import ViewerPlace
from nnunet_pix2rep.annotation.suggest.representation import Representation
from nnunet_pix2rep.annotation.suggest.scans import NOT_PREPROCESSED
from nnunet_pix2rep.annotation.work_folder import SuggestedSlice, Suggestion
from nnunet_pix2rep.feature_pictures import gray
from nnunet_pix2rep.files import atomic_path

THUMBNAIL_INCHES = 1.6
DOTS_PER_INCH = 100
CHOSEN, ANNOTATED, OTHER = "#d55e00", "#0072b2", "#bbbbbb"


@dataclass(frozen=True)
class Thumbnail:
    """A chosen slice as a picture.

    Attributes:
        plane: Shape (rows, columns), upright.
        pixel_size: Along its rows and columns, mm.
        place: Where viewers find it; None: it is a 2D image.
    """

    plane: np.ndarray
    pixel_size: tuple[float, float]
    place: ViewerPlace | None


def write_overview(
    suggestion: Suggestion,
    thumbnails: Sequence[tuple[SuggestedSlice, Thumbnail]],
    choice: Choice,
    notes: Sequence[str],
    file: Path,
) -> None:
    """Writes the page.

    Args:
        suggestion: What was chosen.
        thumbnails: The slices to show, in order, each with its picture.
        choice: The pool that they were chosen from, and what they stand for.
        notes: What the user should know.
        file: The HTML file.
    """
    pool, representation = choice.pool, choice.representation
    curve = None if representation is None else embedded(plot_curve(representation))
    slice_map = None if pool.features is None or len(pool) < 3 else embedded(plot_map(pool, choice.order))
    entries = [
        {"slice": entry, "picture": plot_thumbnail(picture), "place": picture.place} for entry, picture in thumbnails
    ]
    content = {
        "suggestion": suggestion,
        "entries": entries,
        "facts": _facts(suggestion, representation),
        "curve": curve,
        "map": slice_map,
        "representation": representation,
        "notes": list(notes),
        "whole": "all scans" if NOT_PREPROCESSED not in suggestion.pool else "the scans that are preprocessed",
    }
    environment = Environment(
        loader=PackageLoader("nnunet_pix2rep.annotation.suggest.output"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    text = environment.get_template("overview.html.jinja").render(content)
    with atomic_path(file) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _facts(suggestion: Suggestion, representation: Representation | None) -> Mapping[str, Any]:
    chosen = suggestion.slices
    facts = {
        "To annotate": f"{len(chosen)} slices in {len({entry.case for entry in chosen})} scans of "
        f"{len({entry.patient for entry in chosen})} patients",
        "Chosen from": f"{suggestion.pool['slices']} slices in {suggestion.pool['cases']} scans of "
        f"{suggestion.pool['patients']} patients",
        "Annotated before": f"{len(suggestion.annotated_before)} slices",
        "Left out": f"{len(suggestion.patients_left_out)} patients of the validation or test set",
        "Selector": f"{suggestion.selector}, seed {suggestion.seed}",
    }
    if representation is not None:
        before, after = representation.curve[0], representation.curve[representation.chosen]
        facts["Coverage"] = f"{before:.1%} before, {after:.1%} with these slices"
        if representation.represented is not None:
            facts["Scans represented"] = f"{representation.represented:.0%}"
    return facts


def plot_thumbnail(thumbnail: Thumbnail) -> str:
    """A slice as PNG, in base64, at the proportions of its pixels in mm."""
    rows, columns = np.array(thumbnail.plane.shape) * np.array(thumbnail.pixel_size)
    longest = max(rows, columns)
    figure = Figure(figsize=(THUMBNAIL_INCHES * columns / longest, THUMBNAIL_INCHES * rows / longest))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(gray(thumbnail.plane), cmap="gray", aspect="auto", vmin=0, vmax=1)
    axes.set_axis_off()
    return embedded(figure)


def plot_curve(representation: Representation) -> Figure:
    """Coverage against the number of slices, with the chosen budget and the bend."""
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.subplots()
    curve, chosen = np.array(representation.curve) * 100, representation.chosen
    axes.plot(range(chosen + 1), curve[: chosen + 1], color=CHOSEN, label="chosen slices")
    axes.plot(range(chosen, len(curve)), curve[chosen:], color=OTHER, label="if more were added")
    axes.plot(chosen, curve[chosen], "o", color=CHOSEN)
    bend = representation.bend
    axes.axvline(bend, color="#444444", linestyle=":", label=f"further slices add little: {bend}")
    axes.set(xlabel="new annotated slices", ylabel="coverage (%)", xlim=(0, len(curve) - 1))
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=9)
    return figure


def plot_map(pool: SlicePool, order: Sequence[int]) -> Figure:
    """All slices by the first two principal components of their mean features; the chosen ones bear their rank."""
    places = PCA(2, svd_solver="full").fit_transform(pool.descriptors().numpy())
    annotated = pool.annotated.numpy()
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    axes = figure.subplots()
    x, y = places.T
    axes.scatter(x[~annotated], y[~annotated], s=8, color=OTHER, label="slices", linewidths=0)
    if annotated.any():
        axes.scatter(x[annotated], y[annotated], s=20, color=ANNOTATED, marker="s", label="annotated before")
    axes.scatter(x[list(order)], y[list(order)], s=36, color=CHOSEN, label="chosen")
    if len(order) <= 60:
        for rank, index in enumerate(order, start=1):
            axes.annotate(str(rank), places[index], xytext=(4, 3), textcoords="offset points", fontsize=8)
    axes.set(xlabel="first principal component", ylabel="second principal component", xticks=[], yticks=[])
    axes.legend(frameon=False, fontsize=9)
    return figure


def embedded(figure: Figure) -> str:
    """A figure as PNG in base64; the same figure gives the same text."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return base64.b64encode(stream.getvalue()).decode("ascii")
