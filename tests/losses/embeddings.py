"""Paired embeddings for the tests of the losses, and all losses that there are."""

import importlib
import pkgutil

import torch

from nnunet_pix2rep import losses
from nnunet_pix2rep.losses.pairs import PairLoss


def all_losses():
    """Every loss of the package with the settings of its class, by name."""
    for module in pkgutil.iter_modules(losses.__path__):
        importlib.import_module(f"{losses.__name__}.{module.name}")
    found = [
        loss_class for loss_class in PairLoss.__subclasses__() if loss_class.__module__.startswith(losses.__name__)
    ]
    return {loss_class.name: loss_class() for loss_class in found}


def random_pairs(num_rows=12, num_channels=6, dtype=torch.float32, seed=0):
    """Two views that agree in part, with gradients."""
    generator = torch.Generator().manual_seed(seed)
    common, own_1, own_2 = torch.randn(3, num_rows, num_channels, dtype=torch.float64, generator=generator)
    return tuple((common + 0.5 * own + 0.3).to(dtype).requires_grad_() for own in (own_1, own_2))


def value_and_gradients(loss, z_1, z_2):
    """The value of a loss and its gradients by both views, on detached copies."""
    z_1, z_2 = (z.detach().clone().requires_grad_() for z in (z_1, z_2))
    value = loss(z_1, z_2)
    return value.detach(), *torch.autograd.grad(value, (z_1, z_2))
