"""Which language models LaViDa can be built around, by the ``model_type`` of a checkpoint's ``config.json``."""

from collections.abc import Mapping
from types import MappingProxyType

from llava.model.language_model.lavida import LavidaForMaskedDiffusion
from llava.model.language_model.llava_llada import LlavaLladaForMaskedDiffusion

BACKBONES: Mapping[str, type[LavidaForMaskedDiffusion]] = MappingProxyType(
    {model.config_class.model_type: model for model in (LlavaLladaForMaskedDiffusion,)}
)
