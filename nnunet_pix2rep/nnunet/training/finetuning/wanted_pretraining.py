"""The pretraining that a fine-tuning starts from: which checkpoints are of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.nnunet.checkpoints.files import FINAL, RECORD_KEY, load_checkpoint_file
from nnunet_pix2rep.nnunet.plans.adopt import INTENSITIES
from nnunet_pix2rep.nnunet.training.changed_settings import MAY_CHANGE, changed_settings
from nnunet_pix2rep.nnunet.unlabeled.pool import preprocessing_of

BATCHES = ("patch_size", "batch_size")
WITHOUT_INTENSITIES = frozenset(["ZScoreNormalization", "NoNormalization", "RescaleTo01Normalization"])
"""nnU-Net's schemes that normalize an image by itself or not at all (nnunetv2 2.8.1, preprocessing/normalization)."""


@dataclass(frozen=True)
class WantedPretraining:
    """What a pretraining must have been.

    Attributes:
        config: Has its settings.
        held_out: Names of the patients whom it must not have seen, sorted.
        planned: What :func:`planned_for_pretraining` finds in the plans.
    """

    config: Pix2RepConfig
    held_out: list[str]
    planned: dict[str, Any]

    def is_of(self, checkpoint: Mapping[str, Any], source: str, finished: bool = True) -> bool:
        """Whether a checkpoint is of this pretraining.

        Settings of an earlier version have their names of now, and those that came later their defaults.

        Args:
            checkpoint: Of any training.
            source: Its file, for messages.
            finished: Whether it is complete; one that goes on may have other settings where ``--c`` allows it, and
                batches of another size, which is what a GPU out of memory calls for.
        """
        record, begun_with = checkpoint.get(RECORD_KEY, {}), checkpoint.get("init_args")
        if "config" not in record or begun_with is None or record.get("held_out_patients") != self.held_out:
            return False
        changed = changed_settings(Pix2RepConfig.from_record(record["config"], source), self.config)
        planned = planned_for_pretraining(begun_with["plans"], begun_with["configuration"])
        other_settings = {name for name in changed if name.startswith("pretraining.")}
        other_plans = {name for name, value in self.planned.items() if planned[name] != value}
        if not finished:
            other_settings -= MAY_CHANGE
            other_plans -= {*BATCHES}
        return not other_settings and not other_plans


def planned_for_pretraining(plans: Mapping[str, Any], configuration: str) -> dict[str, Any]:
    """All of nnU-Net's plans that a pretraining depends on: how images are made ready, the network, its batches.

    Intensities of the dataset count only where the normalization uses them: they change with every plan.
    """
    manager = PlansManager(deepcopy(dict(plans)))
    content = manager.get_configuration(configuration)
    planned = preprocessing_of(manager, content)
    planned |= {name: content.configuration[name] for name in ("architecture", *BATCHES)}
    if WITHOUT_INTENSITIES.issuperset(content.normalization_schemes):
        del planned[INTENSITIES]
    return json.loads(json.dumps(planned))  # checkpoints may have tuples


def find_finished(folder: Path, wanted: WantedPretraining) -> Path | None:
    """A finished pretraining in any fold that is the wanted one, or None.

    Args:
        folder: The pretraining trainer's folder, which holds ``fold_*``.
        wanted: What it must have been.
    """
    for final in sorted(folder.glob(f"fold_*/{FINAL}")):
        if wanted.is_of(load_checkpoint_file(final), str(final)):
            return final
    return None
