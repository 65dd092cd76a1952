"""The LaViDa model: vision tower, projector, masked-diffusion language model and the loader that puts them together."""

from typing import TYPE_CHECKING

from shirg.lazy import lazy_names

if TYPE_CHECKING:
    from llava.model.language_model.llada.configuration_llada import LLaDAConfig
    from llava.model.language_model.llava_llada import LlavaLladaConfig, LlavaLladaForMaskedDiffusion, LlavaLladaModel

__all__ = ["LLaDAConfig", "LlavaLladaConfig", "LlavaLladaForMaskedDiffusion", "LlavaLladaModel"]

_MODEL = "llava.model.language_model.llava_llada"
__getattr__ = lazy_names(
    __name__,
    {
        "LLaDAConfig": "llava.model.language_model.llada.configuration_llada",
        "LlavaLladaConfig": _MODEL,
        "LlavaLladaForMaskedDiffusion": _MODEL,
        "LlavaLladaModel": _MODEL,
    },
)
