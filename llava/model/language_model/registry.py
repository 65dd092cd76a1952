"""Which language models LaViDa can be built around, by the ``model_type`` of a checkpoint's ``config.json``."""

from collections.abc import Mapping
from types import MappingProxyType

from shirg.lazy import Lazy

BACKBONES: Mapping[str, Lazy] = MappingProxyType(
    {
        "llava_llada": Lazy("llava.model.language_model.llava_llada", "LlavaLladaForMaskedDiffusion"),
        "llava_dream": Lazy("llava.model.language_model.dream.llava_dream", "LlavaDreamForMaskedDiffusion"),
    }
)
"""Each a ``LavidaForMaskedDiffusion``."""
