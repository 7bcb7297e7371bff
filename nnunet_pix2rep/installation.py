"""Where the parts of this package lie on disk."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from nnunet_pix2rep.errors import UserError

PRETRAINING_SUFFIX = "Pretrain"  # what the name of every trainer of a self-supervised stage ends with


def trainers_folder() -> Path:
    """The folder for nnU-Net's environment variable ``nnUNet_extTrainer``: it holds ``nnUNetTrainerPix2Rep*.py``.

    The folder is located without importing a trainer, because nnU-Net's resolver imports those modules itself, under
    their top-level names (nnunetv2/utilities/find_class_by_name.py).

    Returns:
        The absolute path: inside site-packages for a wheel, ``trainers/`` of the checkout for an editable installation
        and for a checkout that is used through ``PYTHONPATH``.

    Raises:
        UserError: the trainers are not there.
    """
    spec = importlib.util.find_spec("nnunet_pix2rep.trainers")
    # A folder without __init__.py, such as a leftover with nothing but __pycache__, is found too, but has no origin.
    if spec is not None and spec.origin is not None:
        return Path(spec.origin).resolve().parent
    raise UserError(
        f"There is no package nnunet_pix2rep.trainers in {Path(__file__).parent}. "
        "Install the package again: pip install --force-reinstall nnunet_pix2rep"
    )


def pretraining_trainers() -> tuple[str, ...]:
    """Names of the trainers of a self-supervised stage, sorted, by the names of their files.

    Raises:
        UserError: the trainers are not there.
    """
    return tuple(sorted(file.stem for file in trainers_folder().glob(f"nnUNetTrainer*{PRETRAINING_SUFFIX}.py")))
