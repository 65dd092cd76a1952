"""What a stage must cost at the least: bytes to read and arithmetic to do, against a device's peaks.

A stage's time divided by its floor says how much there is left to gain, whatever the machine.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from transformers import SiglipVisionConfig

from llava.model.language_model.lavida_config import LavidaConfig
from llava.model.multimodal_encoder.gathering import gathering_flops
from llava.model.multimodal_encoder.stem import stem_flops
from shirg.config import ShirgXConfig
from shirg.profiling import seconds_now

if TYPE_CHECKING:
    from llava.model.language_model.lavida import LavidaForMaskedDiffusion


@dataclass(frozen=True, kw_only=True)
class Peaks:
    """What a device can do at the most."""

    bytes_per_second: float
    flops_per_second: float
    """Published ones are of dense bf16 with float32 accumulation."""
    published: bool = True
    """Whether the maker says so; else it was measured."""


_PEAKS = {
    "A100-SXM4-80GB": Peaks(bytes_per_second=2.039e12, flops_per_second=312e12),
    "H100": Peaks(bytes_per_second=3.35e12, flops_per_second=989e12),
    "H200": Peaks(bytes_per_second=4.8e12, flops_per_second=989e12),
}


def measure_peaks(device: torch.device, dtype: torch.dtype) -> Peaks:
    """What this device reaches now: the best of a few large products, and of a few sums over a large tensor."""
    size, length = 1024, 1 << 25
    left, right = (torch.ones(size, size, device=device, dtype=dtype) for _ in range(2))
    tensor = torch.ones(length, device=device, dtype=dtype)
    product, read = _best(lambda: left @ right, device), _best(tensor.sum, device)
    return Peaks(
        flops_per_second=2 * size**3 / product,
        bytes_per_second=length * tensor.element_size() / read,
        published=False,
    )


def _best(run: Callable[[], object], device: torch.device, *, seconds: float = 0.5) -> float:
    """Seconds of the fastest of several runs."""
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = seconds_now(device)
        run()
        best = min(best, seconds_now(device) - start)
    return best


def peaks_of(device_name: str) -> Peaks | None:
    """The peaks of a known device; None for others."""
    return next((peaks for name, peaks in _PEAKS.items() if name in device_name), None)


def keys_width(config: LavidaConfig) -> int:
    """Width of a layer's keys, and of its values: less than the model's where heads share them."""
    return int(config.hidden_size // config.num_attention_heads * config.key_value_heads)


def block_weights(config: LavidaConfig) -> int:
    """Matrix weights of one layer of the language model."""
    width = config.hidden_size
    return int(width * (2 * width + 2 * keys_width(config) + 3 * config.intermediate_size))


def language_weights(config: LavidaConfig) -> int:
    """Matrix weights that one denoising step reads: all blocks and the head; of the embedding it reads single rows."""
    return int(config.num_hidden_layers * block_weights(config) + config.hidden_size * config.vocab_rows)


def language_bytes(model: LavidaForMaskedDiffusion) -> int:
    """What ``language_weights`` take in this model's memory, whatever precision each of them has."""
    language = model.get_model()
    matrices = (each for block in language.blocks for each in block.parameters() if each.ndim == 2)
    return sum(each.numel() * each.element_size() for each in (*matrices, language.head_weight))


def cache_elements(config: LavidaConfig, tokens: int) -> int:
    """Numbers in a cache of the keys and values of so many positions."""
    return int(config.num_hidden_layers * 2 * keys_width(config) * tokens)


def prefill_flops(config: LavidaConfig, tokens: int) -> float:
    """Arithmetic of a prefill: every weight of the blocks once per token, and attention; there is no head."""
    return config.num_hidden_layers * (2.0 * block_weights(config) * tokens + 4.0 * config.hidden_size * tokens**2)


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
    run = layers * (2.0 * block * patches + 4.0 * width * patches**2)
    if gathered := getattr(config, "gathered_dim", 0):
        run += gathering_flops(width, gathered, width // config.num_attention_heads, patches)
    return views * (run + embedding)


def projector_flops(vision_width: int, width: int, tokens: int) -> float:
    """Arithmetic of LaViDa's two-layer projector."""
    return 2.0 * tokens * (vision_width * width + width**2)


def stage_floors(
    model: LavidaForMaskedDiffusion,
    shirg: ShirgXConfig | None,
    peaks: Peaks,
    *,
    views: int,
    visual_tokens: int,
    prefix_tokens: int,
    forwards: int,
    answer: int,
) -> dict[str, float]:
    """Milliseconds below which a device with these peaks cannot do each stage of an answer at batch 1.

    A stage takes as long as its arithmetic or the bytes that it reads, whichever is longer: ``encode`` runs the vision
    tower (and the projector in LaViDa's own encoding), ``select`` reads the patch features once, a ``step`` reads all
    weights of the language model.

    Args:
        shirg: None for LaViDa's own encoding.
        views: that the vision tower sees.
        answer: positions that each forward computes.
    """
    tower, width = model.get_vision_tower(), model.dtype.itemsize
    side = tower.image_size // tower.patch_size if shirg is None else shirg.grid
    encode = vision_flops(tower.config, tower.num_layers_run, side**2, views)
    project = projector_flops(tower.hidden_size, model.config.hidden_size, visual_tokens)
    if shirg is None:
        encode += projector_flops(tower.hidden_size, model.config.hidden_size, views * side**2)
    weights = language_weights(model.config)
    read = language_bytes(model) / peaks.bytes_per_second
    step = max(2.0 * weights * answer / peaks.flops_per_second, read)
    prefill = max(prefill_flops(model.config, prefix_tokens) / peaks.flops_per_second, read)
    floors = {"encode": encode / peaks.flops_per_second, "prefill": prefill, "step": step}
    if shirg is not None:
        floors["select"] = views * side**2 * tower.hidden_size * width / peaks.bytes_per_second
        floors["project"] = project / peaks.flops_per_second
    floors["denoise"] = prefill + forwards * step
    floors["answer"] = sum(floors.values()) - prefill - step
    return {name: seconds * 1e3 for name, seconds in floors.items()}
