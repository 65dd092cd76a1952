"""LaViDa around LLaDA: the names under which released checkpoints and LaViDa's callers know it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

from transformers import AutoConfig, AutoModelForCausalLM

from llava.conversation import Conversation, conv_templates
from llava.model.language_model.lavida import LavidaForMaskedDiffusion, LavidaModel
from llava.model.language_model.lavida_config import LavidaConfig
from llava.model.language_model.llada.configuration_llada import LLaDAConfig
from llava.model.language_model.llada.modeling_llada import LLaDAModel


class LlavaLladaConfig(LLaDAConfig, LavidaConfig):
    """LLaDA's configuration and LaViDa's vision entries."""

    model_type = "llava_llada"
    conversation: ClassVar[Conversation] = conv_templates["llada"]
    special_words: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "mask_token_id": "<|mdm_mask|>",
            "bos_token_id": "<|startoftext|>",
            "eos_token_id": "<|endoftext|>",
            "start_header_id": "<|start_header_id|>",
            "end_header_id": "<|end_header_id|>",
            "eot_token_id": "<|eot_id|>",
        }
    )
    tensor_names: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"embeddings": "model.transformer.wte.", "output head": "model.transformer.ff_out."}
    )


class LlavaLladaModel(LLaDAModel, LavidaModel):
    """LLaDA with LaViDa's vision modules beside it."""

    def __init__(self, config: LlavaLladaConfig) -> None:
        super().__init__(config)
        self.initialize_vision_modules(config)


class LlavaLladaForMaskedDiffusion(LavidaForMaskedDiffusion):
    """LaViDa with LLaDA."""

    config_class = LlavaLladaConfig
    model_class = LlavaLladaModel
    _no_split_modules = ("LLaDABlock", "SiglipEncoderLayer")


AutoConfig.register(LlavaLladaConfig.model_type, LlavaLladaConfig)
AutoModelForCausalLM.register(LlavaLladaConfig, LlavaLladaForMaskedDiffusion)
