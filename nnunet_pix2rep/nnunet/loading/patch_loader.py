"""Batches of view pairs, made in nnU-Net's worker processes.

Every batch is a function of the seed and its index alone: worker w of n makes the batches w, w + n, w + 2n, ..., and
batchgenerators' ordered MultiThreadedAugmenter hands them out in turn. So the same seed gives the same batches with any
number of workers, and a resumed training goes on with the very batches that an uninterrupted one would have seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from acvl_utils.cropping_and_padding.bounding_boxes import crop_and_pad_nd
from batchgenerators.dataloading.multi_threaded_augmenter import MultiThreadedAugmenter
from batchgenerators.dataloading.single_threaded_augmenter import SingleThreadedAugmenter
from nnunetv2.training.dataloading.data_loader import nnUNetDataLoader
from nnunetv2.utilities.label_handling.label_handling import LabelManager
from threadpoolctl import ThreadpoolController

from nnunet_pix2rep.errors import UserError
from nnunet_pix2rep.nnunet.data.preprocessed_images import ImageCase
from nnunet_pix2rep.nnunet.random_state import global_seed
from nnunet_pix2rep.views import ViewMaker, ViewPair


class _Identifiers:
    """The one thing that nnUNetDataLoader.__init__ asks of a dataset (nnunetv2 2.8.1)."""

    def __init__(self, identifiers: list[str]):
        self.identifiers = identifiers


class ViewPairLoader(nnUNetDataLoader):
    """nnU-Net's data loader, cutting context patches from images and making view pairs; labels are never opened.

    Args:
        cases: The images to draw from.
        batch_size: Patches per batch.
        context_size: Array shape of the context patch, nnU-Net's initial patch size.
        view_maker: Makes the views; knows their size.
        label_manager: nnU-Net's, for the base class.
        seed: Any sequence of non-negative integers that tells this loader from others.
        num_workers: Processes that share the batches; 0: this process makes them.
        first_index: Index of the first batch.
        period: Repeat the same batches after this many; None: never.
        probabilities: Probability of each case; None: the same for all.
    """

    def __init__(
        self,
        cases: Sequence[ImageCase],
        batch_size: int,
        context_size: Sequence[int],
        view_maker: ViewMaker,
        label_manager: LabelManager,
        seed: Sequence[int],
        num_workers: int = 1,
        first_index: int = 0,
        period: int | None = None,
        probabilities: Sequence[float] | None = None,
    ):
        # A view larger than the context can't be: nnU-Net's rule for the initial patch size only ever adds.
        super().__init__(
            _Identifiers([case.identifier for case in cases]),
            batch_size,
            context_size,
            view_maker.view_size,
            label_manager,
        )
        self.has_ignore = False  # get_bbox would look for labeled voxels
        self.cases = list(cases)
        self.view_maker = view_maker
        self.seed = tuple(seed)
        self.num_workers = num_workers
        self.first_index = first_index
        self.period = period
        self.probabilities = probabilities
        self._num_made = 0
        self._thread_pools: ThreadpoolController | None = None

    def generate_train_batch(self) -> dict:
        """The next batch of this worker.

        Returns:
            ``images`` of shape (2B, C, *S) float32, first all views 1, then all views 2; ``points`` of shape (2B, m, D)
            in the same order; ``keys``, the case identifiers. Or only ``error``, a message that the main process
            raises, since an exception in a worker would reach the user as "background workers are no longer alive".
        """
        if self.num_workers > 0:
            # A forked process that starts threads can wait for ever for those of its parent, which it does not have.
            # threadpoolctl, as in nnU-Net's loader, does not reach the MKL inside torch.
            torch.set_num_threads(1)
        index = self.first_index + self._num_made * max(1, self.num_workers) + self.thread_id
        self._num_made += 1
        return self.make_batch(index if self.period is None else index % self.period)

    def make_batch(self, index: int) -> dict:
        """The batch of a given index; see :meth:`generate_train_batch`."""
        generator = np.random.default_rng([*self.seed, index])
        # Looking for the libraries takes as long as a view, so each process does it once.
        self._thread_pools = self._thread_pools or ThreadpoolController()
        with global_seed(int(generator.integers(2**63))), torch.no_grad(), self._thread_pools.limit(limits=1):
            indices = generator.choice(len(self.cases), size=(self.batch_size,), p=self.probabilities)
            drawn = [self.cases[i] for i in indices]
            try:
                pairs = [self._make_pair(case, generator) for case in drawn]
            except UserError as error:
                return {"error": str(error)}
        return {
            **self.collate(pairs),
            "keys": [case.identifier for case in drawn],
        }

    def collate(self, pairs: Sequence[Any]) -> dict[str, torch.Tensor]:
        """The tensors of a batch of view pairs, or of what else the view maker makes of a patch."""
        return {
            "images": torch.stack([pair.view_1 for pair in pairs] + [pair.view_2 for pair in pairs]),
            "points": torch.stack([pair.points_1 for pair in pairs] + [pair.points_2 for pair in pairs]),
        }

    def _make_pair(self, case: ImageCase, generator: np.random.Generator) -> ViewPair:
        image = case.open()
        shape = image.shape[1:]
        lower, upper = self.get_bbox(shape, force_fg=False, class_locations=None)
        context = torch.from_numpy(
            crop_and_pad_nd(image, [list(ends) for ends in zip(lower, upper, strict=True)], 0)
        ).float()
        # Both are NaN if any voxel is; a mask of all voxels would take longer than the views of a small patch.
        if not torch.isfinite(torch.stack(torch.aminmax(context))).all():
            raise UserError(
                f"The preprocessed image of case {case.identifier} in {case.folder} has NaN or infinite voxels. Repair "
                "the raw image (or leave the case out) and run nnUNetv2_preprocess again."
            )
        image_start = [max(0, -low) for low in lower]
        image_stop = [min(high, length) - low for low, high, length in zip(lower, upper, shape, strict=True)]
        if self.patch_size_was_2d:
            context, image_start, image_stop = context[:, 0], image_start[1:], image_stop[1:]
        return self.view_maker(context, image_start, image_stop, generator)


def tensors_of(batch: Mapping[str, Any], device: torch.device, *names: str) -> list[torch.Tensor]:
    """Tensors of a batch on a device.

    Raises:
        UserError: a worker could not make the batch; see :meth:`ViewPairLoader.generate_train_batch`.
    """
    if "error" in batch:
        raise UserError(batch["error"])
    return [batch[name].to(device, non_blocking=True) for name in names]


def start_workers(loader: ViewPairLoader, pin_memory: bool) -> SingleThreadedAugmenter | MultiThreadedAugmenter:
    """Starts the loader's workers, or wraps it for use in this process where ``num_workers`` is 0.

    The first batch is drawn and dropped, which starts the workers at once, as nnU-Net does.
    """
    if loader.num_workers == 0:
        batches = SingleThreadedAugmenter(loader, None)
    else:
        batches = MultiThreadedAugmenter(
            loader,
            None,
            num_processes=loader.num_workers,
            num_cached_per_queue=3,
            pin_memory=pin_memory,
            wait_time=0.002,
        )
    next(batches)
    return batches
