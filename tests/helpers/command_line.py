"""Typing commands in nnU-Net folders of a test's own."""

from nnunet_pix2rep.nnunet.subprocesses import nnunet_environment, run_command

SHORT = [
    f"{part}.{name}={value}"
    for part, epochs in (("pretraining", 2), ("finetuning", 1))
    for name, value in (("num_epochs", epochs), ("num_iterations_per_epoch", 3), ("num_val_iterations_per_epoch", 1))
]


class CommandLine:
    """Types commands in nnU-Net folders of its own."""

    def __init__(self, root):
        self.root = root
        self.environment = nnunet_environment(root)

    def type(self, text, run=run_command):
        """Runs a command and returns what it printed; a NnunetWorker's ``run`` does it without a new process."""
        log = self.root / "log.txt"
        log.unlink(missing_ok=True)
        run(tuple(text.split()), log, self.environment)
        return log.read_text(encoding="utf-8")

    def train(self, dataset, configuration, fold, plans, trainer, options="", run=run_command):
        """Trains on the CPU; returns the folder of the result and the log."""
        log = self.type(
            f"nnUNetv2_train {dataset} {configuration} {fold} -p {plans} -tr {trainer} -device cpu {options}", run
        )
        (folder,) = (self.root / "nnUNet_results").glob(f"*/{trainer}__{plans}__{configuration}/fold_{fold}")
        return folder, log
