"""What a stage must cost at the least: bytes to read and arithmetic to do, against a device's peaks.

A stage's time divided by its floor says how much there is left to gain, whatever the machine.
"""

from dataclasses import dataclass

from transformers import SiglipVisionConfig

from llava.model.language_model.llada.configuration_llada import LLaDAConfig
from llava.model.multimodal_encoder.stem import stem_flops


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """A device's published peaks."""

    bytes_per_second: float
    flops_per_second: float
    """Dense bf16 with float32 accumulation."""


_PEAKS = {
    "A100-SXM4-80GB": Peaks(bytes_per_second=2.039e12, flops_per_second=312e12),
    "H100": Peaks(bytes_per_second=3.35e12, flops_per_second=989e12),
    "H200": Peaks(bytes_per_second=4.8e12, flops_per_second=989e12),
}


def peaks_of(device_name: str) -> Peaks | None:
    """The peaks of a known device; None for others."""
    return next((peaks for name, peaks in _PEAKS.items() if name in device_name), None)


def language_weights(config: LLaDAConfig) -> int:
    """Matrix weights that one denoising step reads: all blocks and the head; of the embedding it reads single rows."""
    block = 4 * config.d_model**2 + 3 * config.d_model * config.mlp_hidden_size
    return config.n_layers * block + config.d_model * (config.vocab_rows)


def prefill_flops(config: LLaDAConfig, tokens: int) -> float:
    """Arithmetic of a prefill: every weight of the blocks once per token, and attention; there is no head."""
    block = 4 * config.d_model**2 + 3 * config.d_model * config.mlp_hidden_size
    return config.n_layers * (2.0 * block * tokens + 4.0 * config.d_model * tokens**2)


def vision_flops(config: SiglipVisionConfig, layers: int, patches: int, views: int = 1) -> float:
    """Arithmetic of a vision tower that runs ``layers`` layers on views of so many patches."""
    width = config.hidden_size
    block = 4 * width**2 + 2 * width * config.intermediate_size
    stem = getattr(config, "stem_channels", None)
    if stem:
        embedding = stem_flops(
            config.num_channels, stem, width, int(config.patch_size), patches, getattr(config, "stem_overlap", 0)
        )
    else:
        embedding = 2.0 * patches * width * config.num_channels * int(config.patch_size) ** 2
    return views * (layers * (2.0 * block * patches + 4.0 * width * patches**2) + embedding)


def projector_flops(vision_width: int, width: int, tokens: int) -> float:
    """Arithmetic of LaViDa's two-layer projector."""
    return 2.0 * tokens * (vision_width * width + width**2)
