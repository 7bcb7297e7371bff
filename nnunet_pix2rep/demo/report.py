"""The demo's last stage: the results in a file, and the figure."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK

from nnunet_pix2rep.annotation.work_folder import read_suggestion
from nnunet_pix2rep.demo.figure import DOTS_PER_INCH, AnnotatedSlice, Row, choose_cases, plot_figure
from nnunet_pix2rep.demo.hide_labels import CHANNEL, ENDING
from nnunet_pix2rep.demo.results import collect_results
from nnunet_pix2rep.demo.settings import DemoFolders, folders_parser
from nnunet_pix2rep.devices import choose_device
from nnunet_pix2rep.feature_pictures import ColorBasis
from nnunet_pix2rep.files import atomic_path, write_json
from nnunet_pix2rep.nnunet.features.extraction import FeatureExtractor, voxels_of
from nnunet_pix2rep.nnunet.features.model import FeatureModel, load_feature_model
from nnunet_pix2rep.nnunet.features.prepared_images import prepare_image

RESULTS_FILE, FIGURE_FILE = "results.json", "demo.png"


def read_annotated_slices(folders: DemoFolders, root: Path) -> list[AnnotatedSlice]:
    """The annotated slices of one of the two datasets, by case and place.

    Raises:
        UserError: there is no suggestion.
    """
    suggestion = read_suggestion(folders.work(root))
    found = []
    for case, indices in sorted(suggestion.chosen().items()):
        image, label = (_read(folder / f"{case}{ENDING}") for folder in (folders.scans, folders.truth))
        axis = suggestion.axes[case]
        found += [AnnotatedSlice(image.take(index, axis), label.take(index, axis)) for index in indices]
    return found


def read_row(case: str, folders: DemoFolders, methods: Sequence[str], model: FeatureModel) -> Row:
    """The middle one of the slices of a test image that the truth labels, with its features.

    Args:
        case: nnU-Net's case identifier.
        folders: Those of the demo.
        methods: Whose segmentations to read.
        model: The pretrained network.
    """
    file = folders.test / "images" / f"{case}{CHANNEL}"
    image, truth = SimpleITK.ReadImage(str(file)), _read(folders.test / "labels" / f"{case}{ENDING}")
    drawn = np.flatnonzero(truth.any(axis=(1, 2)))
    index = int(drawn[len(drawn) // 2])
    predictions = {name: _read(folders.prediction(name) / f"{case}{ENDING}")[index] for name in methods}
    prepared = prepare_image(model, case, [file])
    slices, rows, columns = prepared.properties["bbox_used_for_cropping"]
    plane = prepared.data[:, [index - slices[0]]]
    features = FeatureExtractor(model).features_at(plane, voxels_of(slice(0, 1), plane.shape[2:]))
    return Row(
        case=case,
        segmentations={"truth": truth[index], **predictions},
        image=SimpleITK.GetArrayFromImage(image)[index],
        pixel_size=image.GetSpacing()[1::-1],
        features=features.reshape(*plane.shape[2:], -1).numpy(),
        features_box=(*rows, *columns),
    )


def _read(file: Path) -> np.ndarray:
    return SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file)))


def write_report(folders: DemoFolders) -> dict[str, Any]:
    """Writes ``results.json`` and ``demo.png``; returns the results.

    Raises:
        UserError: a file is missing.
    """
    results = collect_results(folders)
    model = load_feature_model(folders.pretraining, "hypercolumn", choose_device("cpu"))
    rows = [read_row(case, folders, list(results["methods"]), model) for case in choose_cases(results)]
    basis = ColorBasis.fit([row.features.reshape(-1, row.features.shape[-1]) for row in rows])
    annotated = [read_annotated_slices(folders, root) for root in (folders.one_patient, folders.output)]
    figure = plot_figure(annotated, rows, [basis.colors(row.features) for row in rows], results)
    with atomic_path(folders.output / FIGURE_FILE) as temporary:
        figure.savefig(temporary, dpi=DOTS_PER_INCH)
    write_json(results, folders.output / RESULTS_FILE)
    return results


def main(argv: Sequence[str] | None = None) -> int:
    """Writes both from the command line."""
    parser = folders_parser(__doc__)
    arguments = parser.parse_args(argv)
    write_report(DemoFolders(arguments.o, arguments.d))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
