"""Checks of a plans file: that it is what its name says, that its network can be built."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from torch import nn

from nnunet_pix2rep.config import Pix2RepConfig
from nnunet_pix2rep.config.merge import listed
from nnunet_pix2rep.doctor.findings import Finding, error, ok
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.files import read_json
from nnunet_pix2rep.nnunet.networks.planned_network import PlannedNetwork
from nnunet_pix2rep.nnunet.plans.plans_file import read_config, read_plans

WRITE_AGAIN = "nnunet_pix2rep plan -d {d} -c {c} -o {p}"
WRITE_BESIDE = "restore {file}, or write others beside it: nnunet_pix2rep plan -d {{d}} -c {{c}} -o NewPlans"
SETTING = "correct it in {file}; nnunet_pix2rep settings lists all settings"
CONFIGURATION = "choose a configuration of these plans with -c, or other plans with -p"
NAME = 'set "plans_name" in {file} to "{name}", or rename the file to {found}.json'


class PlansCheck:
    """The checks of a plans file. No remedy replaces plans that are there: they may hold the user's own changes.

    Args:
        file: The plans file.
        configuration: Such as ``2d``.
        command: Fills in a command for the dataset.
        planning: The command that plans the dataset.
    """

    def __init__(self, file: Path, configuration: str, command: Callable[[str], str], planning: str):
        self.file = file
        self.configuration = configuration
        self.command = command
        self.planning = planning
        self.planned: PlannedNetwork | None = None
        self.network: nn.Module | None = None
        self.config: Pix2RepConfig | None = None

    def run(self) -> list[Finding]:
        """The findings; ``planned``, ``network`` and ``config`` are set where the plans are sound."""
        if not self.file.is_file():
            remedy = self.planning if self.file.stem == "nnUNetPlans" else self.command(WRITE_AGAIN)
            return [error("plans", f"{self.file} does not exist.", remedy)]
        dataset_json = read_json(self.file.with_name("dataset.json"))
        beside = self.command(WRITE_BESIDE.format(file=self.file))
        try:
            plans = read_plans(self.file)
        except UserError as problem:
            return [error("plans", str(problem), beside)]
        try:
            planned = PlannedNetwork(plans, self.configuration, dataset_json)
        except UserError as problem:
            known = self.configuration in plans.get("configurations", {})
            return [error("plans", str(problem), beside if known else CONFIGURATION)]
        try:
            config = read_config(planned.settings, str(self.file))
        except UserError as problem:
            return [error("plans", str(problem), SETTING.format(file=self.file))]
        try:
            network = planned.build(device="meta")
        except UserError as problem:
            return [error("plans", str(problem), beside)]
        except Exception as problem:  # whatever a network's constructor makes of plans that were changed by hand
            return [error("plans", f"The network of {self.file} cannot be built: {problem!r}", beside)]
        self.planned, self.network, self.config = planned, network, config
        patch = list(planned.settings["patch_size"])
        summary = f"{self.file.stem}, {self.configuration}: {type(network).__name__}, patch {patch}, {_changes(config)}"
        return self._check_name(str(plans.get("plans_name"))) or [ok("plans", summary)]

    def _check_name(self, found: str) -> list[Finding]:
        """nnU-Net names results after what the file says, and looks for the file by what is typed."""
        if found == self.file.stem:
            return []
        message = (
            f'{self.file} has "plans_name": "{found}" in it: trainings with -p {self.file.stem} write to '
            f"...__{found}__{self.configuration}, where prediction and --c with -p {self.file.stem} do not look."
        )
        return [error("plans", message, NAME.format(file=self.file, name=self.file.stem, found=found))]


def _changes(config: Pix2RepConfig) -> str:
    """How many settings differ from the defaults, in words."""
    defaults = dict(listed(Pix2RepConfig().to_block()))
    changed = sum(value != defaults[name] for name, value in listed(config.to_block()))
    if not changed:
        return "Pix2Rep's defaults"
    settings, differ = ("setting", "differs") if changed == 1 else ("settings", "differ")
    return f"{changed} {settings} of Pix2Rep {differ} from the defaults"
