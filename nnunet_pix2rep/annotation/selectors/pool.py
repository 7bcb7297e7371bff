"""The slices to choose from, and what all selectors share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch.nn.functional import normalize

from nnunet_pix2rep.errors import UserError


@dataclass(frozen=True)
class SlicePool:
    """N slices, of scans of patients. Nothing here comes from a label but which slices have one.

    A slice may stand for a whole scan, where scans are chosen.

    Attributes:
        patients: Patient of each slice, N.
        cases: Case of each slice, N.
        positions: Shape (N,), float32: relative position of the middle of each slice in its scan, 0 to 1.
        annotated: Shape (N,), bool: which slices are annotated already.
        features: Shape (N, P, d), float32: features of P sampled pixels of each slice, of unit length; None for
            selectors that need none.
        weights: Shape (N, P), float32: how much each pixel counts, not negative; None: equally.
    """

    patients: tuple[str, ...]
    cases: tuple[str, ...]
    positions: torch.Tensor
    annotated: torch.Tensor
    features: torch.Tensor | None = None
    weights: torch.Tensor | None = None

    def __post_init__(self) -> None:
        count = len(self.patients)
        shapes = {"cases": len(self.cases), "positions": len(self.positions), "annotated": len(self.annotated)}
        for name, tensor in (("features", self.features), ("weights", self.weights)):
            shapes |= {} if tensor is None else {name: len(tensor)}
        wrong = {name: length for name, length in shapes.items() if length != count}
        if wrong:
            raise ValueError(f"a pool of {count} patients has other numbers of entries in {wrong}")
        if self.weights is not None and (self.features is None or self.weights.shape != self.features.shape[:2]):
            raise ValueError("weights must have the shape (N, P) of the features (N, P, d)")

    def __len__(self) -> int:
        return len(self.patients)

    def require_features(self) -> torch.Tensor:
        """Shape (N, P, d): the features of a pool that was made with some.

        Raises:
            ValueError: it was made without.
        """
        if self.features is None:
            raise ValueError("this pool has no features")
        return self.features

    def pixel_weights(self) -> torch.Tensor:
        """Shape (N, P): the weights, scaled so that every patient's pixels sum to 1; nobody counts for more scans."""
        weights = torch.ones(self.require_features().shape[:2]) if self.weights is None else self.weights
        patients = self.patient_numbers()
        totals = torch.zeros(int(patients.max()) + 1, dtype=torch.float64)
        totals.index_add_(0, patients, weights.sum(dim=1, dtype=torch.float64))
        return weights / totals.clamp(min=torch.finfo(torch.float32).tiny)[patients, None].float()

    def patient_numbers(self) -> torch.Tensor:
        """Shape (N,), int64: a number for each patient."""
        numbers = {patient: number for number, patient in enumerate(sorted(set(self.patients)))}
        return torch.tensor([numbers[patient] for patient in self.patients])

    def descriptors(self) -> torch.Tensor:
        """Shape (N, d): the weighted mean of each slice's pixel features, of unit length."""
        features = self.require_features()
        weights = torch.ones(features.shape[:2]) if self.weights is None else self.weights
        weights = weights / weights.sum(dim=1, keepdim=True).clamp(min=torch.finfo(torch.float32).tiny)
        return normalize(torch.einsum("npd,np->nd", features, weights), dim=1)


Selector = Callable[[SlicePool, int, torch.Generator], list[int]]
"""Pool, budget, generator -> indices of that many distinct slices that are not annotated, in order of importance.

Raises a UserError where the pool has fewer.
"""


def free_slices(pool: SlicePool, budget: int) -> torch.Tensor:
    """Indices of the slices that are not annotated, after the check of the budget.

    Raises:
        UserError: there is none, or the budget is below 1 or above their number.
    """
    free = (~pool.annotated).nonzero().flatten()
    if len(free) == 0:
        raise UserError("Everything that is there is annotated already.")
    if not 1 <= budget <= len(free):
        raise UserError(
            f"The budget must be from 1 to {len(free)}, the number of what is there and not annotated, but is {budget}."
        )
    return free


class PatientRounds:
    """The rule that no patient gets a second slice before every patient has one.

    Annotated slices count. Once every patient has a slice, all free slices are allowed.
    """

    def __init__(self, pool: SlicePool):
        self._patients = pool.patients
        self._waiting = set(pool.patients) - {
            patient for patient, done in zip(pool.patients, pool.annotated.tolist(), strict=True) if done
        }

    def take(self, index: int) -> None:
        """Notes that a slice is chosen."""
        self._waiting.discard(self._patients[index])

    def allowed(self, free: Iterable[int]) -> list[int]:
        """Those of the free slices that may be chosen now."""
        free = list(free)
        return [index for index in free if self._patients[index] in self._waiting] or free


def patients_in_turn(pool: SlicePool, generator: torch.Generator) -> list[str]:
    """All patients in random order, those with the fewest annotated slices first."""
    names = sorted(set(pool.patients))
    shuffled = [names[place] for place in torch.randperm(len(names), generator=generator).tolist()]
    annotated = Counter(patient for patient, done in zip(pool.patients, pool.annotated.tolist(), strict=True) if done)
    return sorted(shuffled, key=lambda patient: annotated[patient])
