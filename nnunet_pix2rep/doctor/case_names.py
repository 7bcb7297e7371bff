"""Names of labeled cases that nnU-Net takes for something else."""

from __future__ import annotations

from collections.abc import Sequence

from nnunet_pix2rep.doctor.findings import Finding, error, shorten

LABEL_SUFFIX = "_seg"  # nnunetv2 2.8.1, nnUNetDatasetBlosc2.get_identifiers: <case>_seg.b2nd is a segmentation


def hidden_cases(cases: Sequence[str]) -> list[str]:
    """The cases whose preprocessed images nnU-Net takes for segmentations."""
    return sorted(case for case in cases if case.endswith(LABEL_SUFFIX))


def check_case_names(cases: Sequence[str], preprocessing: str) -> list[Finding]:
    """An error where nnU-Net would leave cases out without a word.

    Args:
        cases: The labeled cases.
        preprocessing: The command that preprocesses the dataset again.
    """
    hidden = hidden_cases(cases)
    if not hidden:
        return []
    message = (
        f"{len(hidden)} cases have names that end in {LABEL_SUFFIX}: {shorten(hidden)}. nnU-Net takes their "
        "preprocessed images for segmentations and never trains on them."
    )
    new_name = f"{hidden[0].removesuffix(LABEL_SUFFIX)}-seg"
    remedy = f"rename them in imagesTr and labelsTr, such as {hidden[0]} to {new_name}; then {preprocessing}"
    return [error("preprocessing", message, remedy)]
