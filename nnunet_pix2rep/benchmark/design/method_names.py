"""From the names that the user types to methods."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnunet_pix2rep.benchmark.design.methods import FINETUNE, METHODS, WEIGHTS_PREFIX, Method
from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.checkpoints.files import load_checkpoint_file


def find_methods(names: Sequence[str]) -> list[Method]:
    """The methods of the given names, ``weights:PATH`` among them.

    Raises:
        UserError: an unknown name, one that is given twice, or weights that are no checkpoint.
    """
    if not names:
        raise UserError(f"--methods needs at least one of {_known()}.")
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise UserError(f"--methods names {', '.join(twice)} twice.")
    return [find_method(name) for name in names]


def find_method(name: str) -> Method:
    """The method of a name; see :func:`find_methods`."""
    if name.startswith(WEIGHTS_PREFIX):
        return _method_of_weights(name)
    if name not in METHODS:
        raise UserError(f"There is no method {name!r}. Known are {_known()}.")
    return METHODS[name]


def _method_of_weights(name: str) -> Method:
    path = Path(name.removeprefix(WEIGHTS_PREFIX)).expanduser().resolve()
    load_checkpoint_file(path)
    return Method(f"{WEIGHTS_PREFIX}{path}", FINETUNE, weights=path)


def _known() -> str:
    return f"{', '.join(METHODS)} and {WEIGHTS_PREFIX}PATH"
