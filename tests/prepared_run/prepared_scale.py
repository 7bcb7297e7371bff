"""How long the parts of the prepared run are: on a card, and far shorter in the rehearsal."""

from __future__ import annotations

from dataclasses import dataclass

SECONDS_LEAST = 15
"""A step that has less time left is not begun."""


@dataclass(frozen=True)
class Scale:
    """Lengths and limits.

    Attributes:
        device: ``-device`` of nnU-Net's commands.
        places: Options of ``nnunet_pix2rep benchmark`` that say where its runs are done.
        seconds: Step -> its limit. The last step gets what the others leave.
        total: Seconds of the whole run.
        grace: Seconds that a command has to end after SIGTERM.
        num_processes: Of planning and preprocessing.
        loading_processes: Of each training in the last step.
        speed: Options of ``nnunet_pix2rep speed``.
        epoch: Training steps of an epoch of the pretraining.
        epochs_before_the_stop: Epochs of the pretraining before SIGTERM.
        epochs: Epochs of the pretraining at most; time ends it earlier on a card.
        finetuning: Steps of a training in the last step.
        pretraining: Steps of the pretraining that it starts from.
        draws: Draws of annotated slices.
        test_patients: Patients that all trainings are tested on.
    """

    device: str
    places: tuple[str, ...]
    seconds: dict[str, float]
    total: float
    grace: float
    num_processes: int
    loading_processes: int
    speed: tuple[str, ...]
    epoch: int
    epochs_before_the_stop: int
    epochs: int
    finetuning: int
    pretraining: int
    draws: int
    test_patients: int


ON_A_CARD = Scale(
    device="cuda",
    places=("--devices", *"000000"),  # five networks of this size at a time kept a card and 16 cores busy
    seconds={"prepare": 100, "tests": 90, "speed": 90, "pretraining": 150, "trainings": 520},
    total=530,
    grace=15,
    num_processes=15,
    loading_processes=3,
    speed=("--synthetic", "--device", "cuda", "--time_limit", "80"),
    epoch=50,
    epochs_before_the_stop=2,
    epochs=1000,
    finetuning=4000,
    pretraining=4000,
    draws=3,
    test_patients=12,
)
REHEARSAL = Scale(
    device="cpu",
    places=("--device", "cpu"),
    seconds={"prepare": 1800, "tests": 1800, "speed": 1800, "pretraining": 1800, "trainings": 3600},
    total=7200,
    grace=60,
    num_processes=1,
    loading_processes=0,
    speed=(
        *("--synthetic", "--tiny", "--device", "cpu", "--only", "step_overhead", "--repetitions", "1"),
        *("--batches", "2", "--set", "pretraining.sampling.num_points=64"),
    ),
    epoch=1,
    epochs_before_the_stop=1,
    epochs=12,
    finetuning=4,
    pretraining=4,
    draws=3,
    test_patients=2,
)
