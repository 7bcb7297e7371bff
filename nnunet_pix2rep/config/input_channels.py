"""The setting of both stages for weights of a network with another number of input channels."""

from __future__ import annotations

from typing import Any

from nnunet_pix2rep.config.fields import setting

ADAPT = "adapt"
REFUSE = "refuse"


def input_channels_setting() -> Any:
    """The field ``other_input_channels``."""
    return setting(
        REFUSE,
        "weights of a network with another number of input channels: refused, or the first convolution is adapted "
        "(summed for one channel, else repeated and rescaled)",
        "ours; the rule is timm's",
        choices=(REFUSE, ADAPT),
    )
