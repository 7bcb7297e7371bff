"""Every hook into what nnU-Net keeps to itself, with the file of nnunetv2 2.8.1 that it depends on.

All else in this package uses nnU-Net's public classes and overrides their methods. tests/nnunet/training/
test_nnunet_private.py fails where a new nnU-Net has changed one of these.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nnunetv2.run import run_training
from nnunetv2.training.logging.nnunet_logger import LocalLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer
from torch import nn


def requested_pretrained_weights() -> Path | None:
    """The file of ``-pretrained_weights``, or None where the option was not given. run/run_training.py.

    nnU-Net does not tell its trainers: ``maybe_load_checkpoint`` calls ``trainer.initialize()`` and then loads the
    weights behind its back. The trainer has to know the file to check and record which patients it has seen, so the
    argument ``pretrained_weights_file`` is read from the stack frame of the call that is under way. With ``--val``
    nnU-Net ignores the option, and so does this.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code is run_training.maybe_load_checkpoint.__code__:
            file = frame.f_locals["pretrained_weights_file"]
            return None if file is None or frame.f_locals["validation_only"] else Path(file)
        frame = frame.f_back
    return None


def is_validating_only() -> bool:
    """Whether nnU-Net was called with ``--val``. run/run_training.py.

    It does not tell its trainers, whose ``load_checkpoint`` it calls as it does for ``--c``; so the argument is read
    from the stack frame of the call that is under way, in one process or in each of several.
    """
    arguments = {run_training.run_training.__code__: "only_run_validation", run_training.run_ddp.__code__: "val"}
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code in arguments:
            return bool(frame.f_locals[arguments[frame.f_code]])
        frame = frame.f_back
    return False


class NetworkStandIn:
    """Shows nnU-Net the planned network instead of a larger one. run/run_training.py, run/load_pretrained_weights.py.

    After ``initialize()`` nnU-Net loads the file of ``-pretrained_weights`` into ``trainer.network`` by the names of
    the planned network, which a pretraining's network does not have: it has the planned one as a part, and a head.
    Weights that were adapted to other input channels it would refuse by the shapes in the file.
    """

    def __init__(self) -> None:
        self._whole: nn.Module | None = None

    def show(self, trainer: nnUNetTrainer, planned: nn.Module) -> None:
        """Makes the planned network the trainer's."""
        self._whole, trainer.network = trainer.network, planned

    def show_nothing(self, trainer: nnUNetTrainer) -> None:
        """Makes an empty network the trainer's, into which nnU-Net loads nothing and so misses nothing."""
        self.show(trainer, nn.Module())

    def remove(self, trainer: nnUNetTrainer) -> None:
        """Gives the trainer its network back; where none was shown, nothing happens."""
        if self._whole is not None:
            trainer.network, self._whole = self._whole, None


@contextmanager
def preprocessed_data_in(trainer: nnUNetTrainer, folder: Path) -> Iterator[None]:
    """Leads nnU-Net to other preprocessed data while the block runs. training/nnUNetTrainer/nnUNetTrainer.py.

    ``initialize`` infers from the files in ``trainer.preprocessed_dataset_folder`` how the data is stored
    (``infer_dataset_class``), which fails on a folder without files.
    """
    own, trainer.preprocessed_dataset_folder = trainer.preprocessed_dataset_folder, str(folder)
    try:
        yield
    finally:
        trainer.preprocessed_dataset_folder = own


def replace_local_logger(trainer: nnUNetTrainer, logger: LocalLogger) -> None:
    """Logs what this logger knows instead of Dice; external loggers stay. training/logging/nnunet_logger.py."""
    trainer.logger.local_logger = logger


def is_compiled(trainer: nnUNetTrainer) -> bool:
    """Whether the trainer uses torch.compile. training/nnUNetTrainer/nnUNetTrainer.py."""
    return trainer._do_i_compile()


def stop_workers(*loaders: Any) -> None:
    """Ends the worker processes of loaders, if they have any, as ``nnUNetTrainer.on_train_end`` does.

    batchgenerators 0.25.1, dataloading/multi_threaded_augmenter.py and nondet_multi_threaded_augmenter.py.
    """
    for loader in loaders:
        if hasattr(loader, "_finish"):
            loader._finish()
