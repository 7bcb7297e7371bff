"""The demo's figure: images, expert labels, both segmentations and the learned features of some validation images."""

from __future__ import annotations

import argparse
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Patch
from matplotlib.patheffects import withStroke

from nnunet_pix2rep.demo.results import collect_results
from nnunet_pix2rep.devices import choose_device
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.feature_pictures import ColourBasis, grey
from nnunet_pix2rep.files import atomic_path
from nnunet_pix2rep.nnunet.checkpoints.files import FINAL
from nnunet_pix2rep.nnunet.data.dataset_folders import preprocessed_folder, raw_folder
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase
from nnunet_pix2rep.nnunet.features.extraction import FeatureExtractor, voxels_of
from nnunet_pix2rep.nnunet.features.model import load_feature_model

NUM_ROWS = 4
COLUMNS = ("Image", "Truth", "From scratch", "Pix2Rep", "Learned features (PCA)")
LABEL_COLOURS = ("#56b4e9", "#e69f00", "#d0368a")  # of labels 1, 2, 3; distinct for colour-blind readers too
OPACITY = 0.6
PANEL_INCHES = 1.75
DOTS_PER_INCH = 120


@dataclass(frozen=True)
class Row:
    """One image of the figure, all arrays of one slice.

    Attributes:
        case: nnU-Net's case identifier.
        segmentations: ``truth``, ``scratch`` and ``pix2rep``, shape (Y, X).
        image: Shape (Y, X).
        pixel_size: Along y and x, in mm.
        features: Shape (Y', X', channels), on the preprocessed grid.
        features_box: Where the image that was preprocessed lies: first and last row, first and last column.
    """

    case: str
    segmentations: dict[str, np.ndarray]
    image: np.ndarray
    pixel_size: tuple[float, float]
    features: np.ndarray
    features_box: tuple[int, int, int, int]


def choose_cases(summary: Mapping[str, Any], number: int = NUM_ROWS) -> list[str]:
    """Evenly spaced from the image that Pix2Rep helps most to the one that it helps least or harms."""
    scratch, pix2rep = summary["scratch"]["cases"], summary["pix2rep"]["cases"]
    ordered = sorted(scratch, key=lambda case: scratch[case] - pix2rep[case])
    places = np.linspace(0, len(ordered) - 1, min(number, len(ordered))).round().astype(int)
    return [ordered[place] for place in places]


def read_row(
    case: str, dataset: str, folders: Mapping[str, Path], data_folder: Path, extractor: FeatureExtractor
) -> Row:
    """Reads the middle one of the slices that the truth labels, and computes its features.

    Args:
        case: nnU-Net's case identifier.
        dataset: Name of the dataset.
        folders: nnU-Net's results folders of the fold: ``scratch``, ``pix2rep``.
        data_folder: Folder of the preprocessed images.
        extractor: Of the pretrained network.
    """
    preprocessed, raw = preprocessed_folder(dataset), raw_folder(dataset)
    if raw is None:
        raise UserError(f"The raw images of {dataset} are gone: run the demo again in another folder.")
    image = SimpleITK.ReadImage(str(raw / "imagesTr" / f"{case}_0000.nii.gz"))
    files = {"truth": preprocessed / "gt_segmentations" / f"{case}.nii.gz"}
    files |= {name: folders[name] / "validation" / f"{case}.nii.gz" for name in ("scratch", "pix2rep")}
    volumes = {name: SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))) for name, file in files.items()}
    labeled = np.flatnonzero(volumes["truth"].any(axis=(1, 2)))
    index = int(labeled[len(labeled) // 2])
    with (data_folder / f"{case}.pkl").open("rb") as file:
        slices, rows, columns = pickle.load(file)["bbox_used_for_cropping"]
    prepared = np.asarray(ImageCase(case, str(data_folder)).open()[:, [index - slices[0]]])
    plane = prepared.shape[2:]
    return Row(
        case=case,
        segmentations={name: volume[index] for name, volume in volumes.items()},
        image=SimpleITK.GetArrayFromImage(image)[index],
        pixel_size=image.GetSpacing()[1::-1],
        features=extractor.features_at(prepared, voxels_of(slice(0, 1), plane)).reshape(*plane, -1).numpy(),
        features_box=(*rows, *columns),
    )


def overlay(image: np.ndarray, segmentation: np.ndarray | None = None) -> np.ndarray:
    """The image in grey between its 1st and 99.5th percentile, with the labels in colour; (Y, X, 3) from 0 to 1."""
    colours = np.repeat(grey(image)[..., None], 3, axis=-1)
    if segmentation is not None:
        for label, colour in enumerate(LABEL_COLOURS, 1):
            where = segmentation == label
            colours[where] = (1 - OPACITY) * colours[where] + OPACITY * np.array(to_rgb(colour))
    return colours


def plot_figure(rows: Sequence[Row], colours: Sequence[np.ndarray], summary: Mapping[str, Any]) -> Figure:
    """Draws the rows.

    Args:
        rows: Images from top to bottom.
        colours: Their features as colours, shape (Y', X', 3).
        summary: See :func:`nnunet_pix2rep.demo.results.collect_results`.
    """
    figure = Figure(
        figsize=(PANEL_INCHES * len(COLUMNS) + 0.4, PANEL_INCHES * len(rows) + 1.0),
        layout=ConstrainedLayoutEngine(w_pad=0.02, h_pad=0.02, wspace=0, hspace=0),
    )
    axes = figure.subplots(len(rows), len(COLUMNS), squeeze=False)
    for axis, title in zip(axes[0], COLUMNS, strict=True):
        axis.set_title(title, fontsize=10)
    for line, row, colour in zip(axes, rows, colours, strict=True):
        _plot_row(line, row, colour, summary)
    labels = [Patch(color=LABEL_COLOURS[label - 1], label=name) for name, label in summary["labels"].items()]
    figure.legend(handles=labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    means = {name: summary[name]["mean_dice"] for name in ("scratch", "pix2rep")}
    figure.suptitle(
        f"One labeled patient: mean Dice {means['scratch']:.3f} from scratch, {means['pix2rep']:.3f} with Pix2Rep\n"
        f"({len(summary['scratch']['cases'])} images of {len(summary['validation_patients'])} other patients; rows "
        "from the largest gain to the smallest)",
        fontsize=10,
    )
    return figure


def _plot_row(line: Sequence[Any], row: Row, colours: np.ndarray, summary: Mapping[str, Any]) -> None:
    height, width = (length * size for length, size in zip(row.image.shape, row.pixel_size, strict=True))
    pictures = [overlay(row.image), *(overlay(row.image, segmentation) for segmentation in row.segmentations.values())]
    for axis, picture in zip(line, pictures, strict=False):
        axis.imshow(picture, extent=(0, width, height, 0), interpolation="nearest")
    top, bottom, left, right = row.features_box
    y, x = row.pixel_size
    line[-1].imshow(colours, extent=(left * x, right * x, bottom * y, top * y), interpolation="nearest")
    for axis in line:
        axis.set(xlim=(0, width), ylim=(height, 0), xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    line[0].set_ylabel(row.case.replace("_", " "), fontsize=8)
    for axis, name in zip(line[2:4], ("scratch", "pix2rep"), strict=True):
        dice = summary[name]["cases"][row.case]
        text = axis.text(0.03, 0.03, f"Dice {dice:.2f}", transform=axis.transAxes, color="white", fontsize=8)
        text.set_path_effects([withStroke(linewidth=2, foreground="black")])


def main(argv: Sequence[str] | None = None) -> int:
    """Draws the figure from the command line; nnU-Net's environment variables must be set."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-d", required=True, metavar="DATASET", help="name of the dataset")
    for name in ("scratch", "pix2rep", "pretraining"):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="FOLDER", help=f"fold folder of {name}")
    parser.add_argument("-o", type=Path, required=True, metavar="FILE", help="the PNG file")
    arguments = parser.parse_args(argv)
    folders = {name: getattr(arguments, name) for name in ("scratch", "pix2rep", "pretraining")}
    summary = collect_results(folders, preprocessed_folder(arguments.d))
    model = load_feature_model(folders["pretraining"] / FINAL, "hypercolumn", choose_device("cpu"))
    data_folder = preprocessed_folder(arguments.d) / model.configuration.data_identifier
    extractor = FeatureExtractor(model)
    rows = [read_row(case, arguments.d, folders, data_folder, extractor) for case in choose_cases(summary)]
    basis = ColourBasis.fit([row.features.reshape(-1, row.features.shape[-1]) for row in rows])
    figure = plot_figure(rows, [basis.colours(row.features) for row in rows], summary)
    with atomic_path(arguments.o) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
