"""What is measured while a pretraining runs, and when it calls for a warning."""

from nnunet_pix2rep.diagnostics.embeddings import PAIR_DIAGNOSTICS, summarize
from nnunet_pix2rep.diagnostics.equivariance import equivariance_error
from nnunet_pix2rep.diagnostics.monitoring import PretrainingWarning, find_warnings
from nnunet_pix2rep.diagnostics.shortcuts import SHORTCUTS, ProbeRows, probe_shortcuts

__all__ = [
    "PAIR_DIAGNOSTICS",
    "SHORTCUTS",
    "PretrainingWarning",
    "ProbeRows",
    "equivariance_error",
    "find_warnings",
    "probe_shortcuts",
    "summarize",
]
