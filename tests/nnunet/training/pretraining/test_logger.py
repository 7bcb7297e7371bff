import inspect
import math
import re

import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure
from nnunetv2.training.logging.nnunet_logger import MetaLogger
from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

from nnunet_pix2rep.nnunet.training.pretraining.logger import DIAGNOSTICS, GENERAL_KEYS, PretrainingLogger

KEYS = (*GENERAL_KEYS, *DIAGNOSTICS)
# nnU-Net's hooks that a pretraining runs as they are; the others, which log the Dice, it replaces.
INHERITED_HOOKS = (nnUNetTrainer.on_epoch_start, nnUNetTrainer.on_train_epoch_start)


def log_epochs(logger, num_epochs):
    for epoch in range(num_epochs):
        for number, key in enumerate(KEYS):
            logger.log(key, float(epoch + number), epoch)


@pytest.fixture
def logger(tmp_path):
    meta_logger = MetaLogger(tmp_path, resume=False)
    meta_logger.local_logger = PretrainingLogger()
    return meta_logger


def test_the_keys_that_nnunets_own_hooks_log_are_known(logger):
    logged = {key for hook in INHERITED_HOOKS for key in re.findall(r"\.log\(['\"](\w+)", inspect.getsource(hook))}
    assert {"epoch_start_timestamps", "lrs"} <= logged <= set(KEYS)
    for key in logged:
        logger.log(key, 1.0, 0)
        assert logger.get_value(key, step=-1) == 1.0


def test_other_keys_are_refused(logger):
    with pytest.raises(AssertionError):
        logger.log("mean_fg_dice", 1.0, 0)


def test_the_log_survives_a_checkpoint(logger):
    log_epochs(logger, 3)
    other = PretrainingLogger()
    other.load_checkpoint(logger.get_checkpoint())
    assert other.my_fantastic_logging == logger.local_logger.my_fantastic_logging


@pytest.mark.parametrize("num_epochs", [0, 40])
def test_the_picture_is_written_also_in_the_middle_of_an_epoch(logger, tmp_path, num_epochs):
    log_epochs(logger, num_epochs)
    logger.log("lrs", 0.1, num_epochs)
    logger.log("epoch_start_timestamps", 5.0, num_epochs)
    logger.plot_progress_png(str(tmp_path))
    height, width, _ = plt.imread(tmp_path / "progress.png").shape
    assert min(height, width) > 500
    assert plt.get_fignums() == []


def test_a_failure_leaves_the_old_picture_and_nothing_else(logger, tmp_path, monkeypatch):
    log_epochs(logger, 2)
    picture = tmp_path / "progress.png"
    picture.write_bytes(b"old")

    def fail_half_way(_figure, file, *_, **__):
        file.write_bytes(b"half")
        raise OSError("no space left on device")

    monkeypatch.setattr(Figure, "savefig", fail_half_way)
    with pytest.raises(OSError, match="no space"):
        logger.plot_progress_png(str(tmp_path))
    assert picture.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [picture]
    assert plt.get_fignums() == []


def test_a_checkpoint_from_before_a_diagnostic_was_added_can_be_continued(logger):
    log_epochs(logger, 3)
    older = {key: series for key, series in logger.get_checkpoint().items() if key != "position_r2"}
    other = PretrainingLogger()
    other.load_checkpoint(older)
    assert all(math.isnan(value) for value in other.get_value("position_r2", None))
    other.log("position_r2", 0.5, 3)
    assert other.get_value("position_r2", -1) == 0.5
