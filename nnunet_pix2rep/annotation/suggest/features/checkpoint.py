"""The pretraining whose features are used."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import torch
from nnunetv2.paths import nnUNet_results
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

from nnunet_pix2rep.annotation.suggest.planned_dataset import PlannedDataset
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import FINAL
from nnunet_pix2rep.nnunet.checkpoints.transfer import find_pretraining
from nnunet_pix2rep.nnunet.features.model import FeatureModel, load_feature_model
from nnunet_pix2rep.nnunet.unlabeled.pool import preprocessing_of


def load_pretraining(
    dataset: PlannedDataset, checkpoint: Path | None, features: str | None, fold: int | str, device: torch.device
) -> FeatureModel:
    """Loads a pretraining of just these plans.

    Args:
        dataset: The dataset under its plans.
        checkpoint: The file; None: the finished pretraining of the fold, or else of fold ``all``.
        features: See :func:`load_feature_model`.
        fold: The fold.
        device: Where to compute.

    Raises:
        UserError: there is no such checkpoint, several, or it is of other plans.
    """
    model = load_feature_model(checkpoint or _find(dataset, fold), features, device)
    _check_plans(model, dataset)
    return model


def has_one_pretraining(dataset: PlannedDataset, fold: int | str) -> bool:
    """Whether a finished pretraining of these plans can be found without asking which one is meant."""
    if not nnUNet_results.is_set():
        return False
    trainings = f"*Pretrain__{dataset.plans['plans_name']}__{dataset.configuration}"
    folder = Path(nnUNet_results) / dataset.name
    own = list(folder.glob(f"{trainings}/fold_{fold}/{FINAL}"))
    return len(own or list(folder.glob(f"{trainings}/fold_all/{FINAL}"))) == 1


def _find(dataset: PlannedDataset, fold: int | str) -> Path:
    if not nnUNet_results.is_set():
        raise UserError("The environment variable nnUNet_results is not set. Set it, or name a --checkpoint.")
    folder = Path(nnUNet_results) / dataset.name
    names = (dataset.plans["plans_name"], dataset.configuration)
    if fold != "all" and any(folder.glob(f"*Pretrain__{'__'.join(names)}/fold_{fold}/{FINAL}")):
        return find_pretraining(folder, *names, fold, option="--checkpoint")
    return find_pretraining(folder, *names, "all", option="--checkpoint")


def _check_plans(model: FeatureModel, dataset: PlannedDataset) -> None:
    manager = PlansManager(deepcopy(dataset.plans))  # it changes what it is given
    configuration = manager.get_configuration(dataset.configuration)
    wanted = _essentials(manager, configuration)
    found = _essentials(model.plans_manager, model.configuration)
    differing = [name for name in wanted if wanted[name] != found[name]]
    if differing:
        raise UserError(
            f"{model.source} is of other plans ({model.plans_manager.plans_name}, another {', '.join(differing)}) than "
            f"{dataset.plans['plans_name']}, configuration {dataset.configuration}. Its features do not fit these "
            "images. Pretrain with these plans, or name the plans of the checkpoint with -p and -c."
        )


def _essentials(manager: PlansManager, configuration: Any) -> dict[str, Any]:
    own = {"patch_size": list(configuration.patch_size), "architecture": configuration.configuration["architecture"]}
    return preprocessing_of(manager, configuration) | own
