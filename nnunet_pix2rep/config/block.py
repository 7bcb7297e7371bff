"""The block ``"pix2rep"`` of a plans file, and the same in the record of a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from nnunet_pix2rep.config.fields import read_settings
from nnunet_pix2rep.config.finetuning import FinetuningConfig
from nnunet_pix2rep.config.flat_names import NEW_NAMES, in_parts
from nnunet_pix2rep.config.merge import merged, parse_settings
from nnunet_pix2rep.config.pretraining import PretrainingConfig

BLOCK_NAME = "pix2rep"
_RENAMED = {
    f"{BLOCK_NAME}.pretraining.{name}": f"{BLOCK_NAME}.pretraining.{name_now}" for name, name_now in NEW_NAMES.items()
}


@dataclass(frozen=True)
class Pix2RepConfig:
    """The whole block ``"pix2rep"``."""

    pretraining: PretrainingConfig = field(default_factory=PretrainingConfig)
    finetuning: FinetuningConfig = field(default_factory=FinetuningConfig)

    @classmethod
    def from_block(cls, block: Any, source: str) -> Pix2RepConfig:
        """Reads the block of a plans file.

        Args:
            block: The content of the key ``"pix2rep"``; None or missing keys mean the defaults.
            source: The file that the block comes from, for error messages.

        Raises:
            UserError: an unknown key, one that has another name now, a wrong type or a value out of its range.
        """
        return cls() if block is None else read_settings(cls, block, BLOCK_NAME, source, _RENAMED)

    @classmethod
    def from_record(cls, block: dict[str, Any] | None, source: str) -> Pix2RepConfig:
        """Reads the block that a checkpoint recorded, under the names of its version; else as :meth:`from_block`."""
        return cls.from_block(None if block is None else in_parts(block), source)

    def to_block(self) -> dict[str, Any]:
        """All settings as plain Python values, as they may be in a plans file or a checkpoint."""
        return json.loads(json.dumps(asdict(self)))  # tuples become lists

    def with_settings(self, settings: Sequence[str], source: str = "--set") -> Pix2RepConfig:
        """Returns a copy with settings like ``pretraining.num_epochs=200`` applied; see :func:`parse_settings`."""
        return Pix2RepConfig.from_block(merged(self.to_block(), parse_settings(settings, source)), source)
