"""Made-up pools of slices for tests of the selectors."""

import torch
from torch.nn.functional import normalize

from nnunet_pix2rep.annotation.selectors import SlicePool


def make_pool(patients=8, slices=6, pixels=5, channels=6, annotated=(), seed=0, weights=None) -> SlicePool:
    """Patients with a scan each and random features."""
    generator = torch.Generator().manual_seed(seed)
    names = [f"patient_{patient:02d}" for patient in range(patients) for _ in range(slices)]
    features = normalize(torch.randn(len(names), pixels, channels, generator=generator), dim=-1)
    done = torch.zeros(len(names), dtype=torch.bool)
    done[list(annotated)] = True
    positions = torch.tensor([(index + 0.5) / slices for _ in range(patients) for index in range(slices)])
    return SlicePool(tuple(names), tuple(f"{name}_scan" for name in names), positions, done, features, weights)


def make_clustered_pool(rare=8, common=72, pixels=4, seed=0) -> tuple[SlicePool, torch.Tensor]:
    """Slices of common and of rare kinds: returns the pool and the kind of each slice.

    Kind 0 has most slices; the others are of kinds 1 to 4, the same number each.
    """
    generator = torch.Generator().manual_seed(seed)
    kinds = torch.cat([torch.zeros(common, dtype=torch.long), torch.arange(rare) * 4 // rare + 1])
    centers = torch.eye(8)[: int(kinds.max()) + 1]
    noise = 0.1 * torch.randn(len(kinds), pixels, 8, generator=generator)
    features = normalize(centers[kinds][:, None] + noise, dim=-1)
    count = len(kinds)
    names = tuple(f"patient_{number:02d}" for number in range(count))
    return SlicePool(names, names, torch.full((count,), 0.5), torch.zeros(count, dtype=torch.bool), features), kinds


def seeded(seed=0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)
