"""``nnunet_pix2rep demo``: the whole method on a synthetic dataset, in a few minutes on a CPU."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nnunet_pix2rep.demo import DEFAULT_SEED

HELP = (
    "Run the whole job on synthetic cardiac MRI, or on Sunnybrook: pretrain, suggest slices, annotate them, fine-tune; "
    "beside it one patient with as many slices, with and without Pix2Rep."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments."""
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("pix2rep_demo"),
        metavar="DIR",
        help="Folder for all that the demo writes. A demo that was interrupted there goes on. Default: %(default)s.",
    )
    parser.add_argument(
        "--seed",
        type=_seed,
        default=DEFAULT_SEED,
        metavar="S",
        help="Seed of the phantom, of whom and what is annotated, and of the pretraining. Default: %(default)s.",
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="FOLDER",
        help="Use the Sunnybrook data in this folder (it holds Images/ and Labels/) instead of the synthetic images.",
    )


def run(arguments: argparse.Namespace) -> int:
    """Runs the demo; SIGTERM or a closed terminal stops the command that runs at the time, as Ctrl+C does."""
    from nnunet_pix2rep.demo.run import DemoSettings, run_demo

    with _signals_end_it():
        run_demo(arguments.output, DemoSettings(seed=arguments.seed, data=arguments.data))
    return 0


@contextmanager
def _signals_end_it() -> Iterator[None]:
    import signal
    import sys

    numbers = [signal.SIGTERM]
    # A terminal that is closed sends SIGHUP; Windows does not know it, and nohup has it ignored.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    previous = {number: signal.signal(number, lambda received, _frame: sys.exit(128 + received)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if not 0 <= seed < 2**32:
        raise argparse.ArgumentTypeError(f"must be from 0 to {2**32 - 1}, but is {seed}")
    return seed
