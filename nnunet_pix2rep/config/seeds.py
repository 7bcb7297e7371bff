"""The range of all seeds: that of numpy's global generator, the narrowest one."""

from __future__ import annotations

from nnunet_pix2rep.errors import UserError

MAX_SEED = 2**32 - 1


def check_seed(seed: int) -> None:
    """Raises UserError where the value of ``--seed`` is out of range."""
    if not 0 <= seed <= MAX_SEED:
        raise UserError(f"--seed must be from 0 to {MAX_SEED}, but is {seed}.")
