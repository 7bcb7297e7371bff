"""Running nnU-Net's own planners."""

from __future__ import annotations

from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import ExperimentPlanner

from nnunet_pix2rep.nnunet.environment import environment


def run_planner(planner: ExperimentPlanner) -> None:
    """Plans, also where ``nnUNet_n_proc_DA`` is 0, for trainings that load in their own process.

    nnunetv2 2.8.1, default_experiment_planner.py: ``static_estimate_VRAM_usage`` takes the variable for a number of
    threads, which 0 is not.
    """
    with environment({"nnUNet_n_proc_DA": "1"}):
        planner.plan_experiment()
