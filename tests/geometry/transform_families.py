"""The kinds of random transforms that the geometry tests run over, each as far as the configuration allows."""

import dataclasses
import math

from nnunet_pix2rep.config import ViewsConfig
from nnunet_pix2rep.geometry.grids import TransformRanges

LIMITS = {item.name: (item.metadata["low"], item.metadata["high"]) for item in dataclasses.fields(ViewsConfig)}
MAX_AMPLITUDES = (LIMITS["elastic_coarse_amplitude"][1], LIMITS["elastic_fine_amplitude"][1])

WIDEST = {
    "rotation": {"rotation": (-math.pi, math.pi)},
    "zoom": {"zoom": LIMITS["zoom"]},
    "translation": {"translation": LIMITS["translation"][1]},
    "mirror": {"mirror_axes": (0, 1, 2)},
    "elastic": {"elastic_probability": 1.0, "elastic_amplitudes": MAX_AMPLITUDES},
}
EVERYTHING = {name: value for family in WIDEST.values() for name, value in family.items()}
FAMILIES = {name: TransformRanges(**family) for name, family in WIDEST.items()} | {
    "everything": TransformRanges(**EVERYTHING),
    "in_plane_only": TransformRanges(**EVERYTHING, in_plane_only=True),
}
# Lengths that differ, so that a swapped axis shows.
SIZES = {2: (40, 56), 3: (12, 20, 16)}
# (name of the family, dimension); nnU-Net has in-plane transforms in 3D only.
CASES = [(family, 2) for family in FAMILIES if family != "in_plane_only"] + [(family, 3) for family in FAMILIES]
