"""The names that settings had until version 0.1.0, when those of the pretraining were not in parts."""

from __future__ import annotations

from typing import Any

from nnunet_pix2rep.config.merge import merged

NEW_NAMES = {
    "initial_lr": "optimization.initial_lr",
    "weight_decay": "optimization.weight_decay",
    "warmup_fraction": "optimization.warmup_fraction",
    "gradient_clipping": "optimization.gradient_clipping",
    "rotation_degrees": "views.rotation_degrees",
    "mirror_axes": "views.mirror_axes",
    "zoom": "views.zoom",
    "translation": "views.translation",
    "elastic_probability": "views.elastic_probability",
    "elastic_coarse_amplitude": "views.elastic_coarse_amplitude",
    "elastic_fine_amplitude": "views.elastic_fine_amplitude",
    "multiscale_probability": "views.multiscale_probability",
    "multiscale_range": "views.multiscale_range",
    "noise_probability": "views.noise_probability",
    "noise_variance": "views.noise_variance",
    "blur_probability": "views.blur_probability",
    "blur_sigma": "views.blur_sigma",
    "brightness_probability": "views.brightness_probability",
    "brightness_range": "views.brightness_range",
    "contrast_probability": "views.contrast_probability",
    "contrast_range": "views.contrast_range",
    "gamma_probability": "views.gamma_probability",
    "inverted_gamma_probability": "views.inverted_gamma_probability",
    "gamma_range": "views.gamma_range",
    "inversion_probability": "views.inversion_probability",
    "low_resolution_probability": "views.low_resolution_probability",
    "low_resolution_range": "views.low_resolution_range",
    "bias_field_probability": "views.bias_field_probability",
    "bias_field_strength": "views.bias_field_strength",
    "features": "sampling.features",
    "num_points": "sampling.num_points",
    "projection_hidden_channels": "head.hidden_channels",
    "projection_channels": "head.channels",
    "temperature": "info_nce.temperature",
    "info_nce_chunk_size": "info_nce.chunk_size",
    "info_nce_negatives": "info_nce.negatives",
    "redundancy_weight": "barlow_twins.redundancy_weight",
    "mask_ratio": "masked_autoencoder.mask_ratio",
    "mask_block_size": "masked_autoencoder.block_size",
}
"""In the part ``pretraining``: name of before -> part and name of now."""


def in_parts(block: dict[str, Any]) -> dict[str, Any]:
    """The block of a checkpoint, where settings of before have their names of now; what has them already stays."""
    result = {part: values for part, values in block.items() if part != "pretraining"}
    for name, value in block.get("pretraining", {}).items():
        *parts, name_now = NEW_NAMES.get(name, name).split(".")
        within: Any = {name_now: value}
        for part in reversed(parts):
            within = {part: within}
        result = merged(result, {"pretraining": within})
    return result
