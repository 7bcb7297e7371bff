"""The plans of another dataset for one's own images, so that weights that were trained there fit."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from nnunet_pix2rep.nnunet.plans.plans_file import resolve_configuration

NORMALIZATION = ("normalization_schemes", "use_mask_for_norm")
INTENSITIES = "foreground_intensity_properties_per_channel"


def adopt_plans(
    own: Mapping[str, Any], other: Mapping[str, Any], configuration: str, plans_name: str
) -> tuple[dict[str, Any], bool]:
    """Plans with one configuration of another dataset: its spacing, axes, patch and network.

    nnU-Net's ``move_plans_between_datasets`` does much the same, but its plans do not preprocess images with more
    channels, and it takes no dataset without labels. The file format comes from the dataset's own plans, and so does
    the normalization where its channels are normalized in another way (other modalities, or another number). Where
    they are normalized alike, the other dataset's intensities are kept: a CT value means the same in both.

    Args:
        own: The dataset's own plans.
        other: Those of the other dataset.
        configuration: One of ``other``'s.
        plans_name: Name of the result.

    Returns:
        The plans, and whether their normalization is that of ``own``.

    Raises:
        UserError: ``other`` does not have the configuration, or it is the second stage of a cascade.
    """
    content = resolve_configuration(dict(other), configuration) | {"data_identifier": f"{plans_name}_{configuration}"}
    plans = copy.deepcopy(dict(other)) | {
        "plans_name": plans_name,
        "configurations": {configuration: content},
        **{name: own[name] for name in ("dataset_name", "image_reader_writer")},
    }
    # all configurations of a dataset normalize alike
    own_content = next(one for one in own["configurations"].values() if NORMALIZATION[0] in one)
    is_own = own_content[NORMALIZATION[0]] != content[NORMALIZATION[0]]
    if is_own:
        content |= {name: own_content[name] for name in NORMALIZATION}
        plans[INTENSITIES] = own[INTENSITIES]
    for relation in ("inherits_from", "next_stage"):
        content.pop(relation, None)
    return plans, is_own
