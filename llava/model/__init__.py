"""The LaViDa model: vision tower, projector, masked-diffusion language model and the loader that puts them together."""

from llava.model.language_model.llada.configuration_llada import LLaDAConfig
from llava.model.language_model.llava_llada import LlavaLladaConfig, LlavaLladaForMaskedDiffusion, LlavaLladaModel

__all__ = ["LLaDAConfig", "LlavaLladaConfig", "LlavaLladaForMaskedDiffusion", "LlavaLladaModel"]
