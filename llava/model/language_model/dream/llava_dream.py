"""LaViDa around Dream: the names under which released checkpoints and LaViDa's callers know it."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar

from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from llava.conversation import Conversation, conv_templates
from llava.model.language_model.diffusion.decoding import DecodingConfig
from llava.model.language_model.dream.configuration_dream import DreamConfig
from llava.model.language_model.dream.modeling_dream import DreamModel
from llava.model.language_model.dream.settings import read_settings
from llava.model.language_model.lavida import LavidaForMaskedDiffusion, LavidaModel, drop_unused_settings
from llava.model.language_model.lavida_config import LavidaConfig


class LlavaDreamConfig(DreamConfig, LavidaConfig):
    """Dream's configuration and LaViDa's vision entries."""

    model_type = "llava_dream"
    conversation: ClassVar[Conversation] = conv_templates["dream"]
    special_words: ClassVar[Mapping[str, str]] = MappingProxyType(
        {
            "mask_token_id": "<|mask|>",
            "bos_token_id": "<|beginoftext|>",
            "eos_token_id": "<|endoftext|>",
            "pad_token_id": "<|endoftext|>",
            "start_header_id": "<|im_start|>",
            "end_header_id": "\N{LATIN CAPITAL LETTER C WITH DOT ABOVE}",
            "eot_token_id": "<|im_end|>",
        }
    )
    tensor_names: ClassVar[Mapping[str, str]] = MappingProxyType(
        {"embeddings": "model.embed_tokens.", "output head": "lm_head."}
    )


class LlavaDreamModel(DreamModel, LavidaModel):
    """Dream with LaViDa's vision modules beside it."""

    def __init__(self, config: LlavaDreamConfig) -> None:
        super().__init__(config)
        self.initialize_vision_modules(config)


class LlavaDreamForMaskedDiffusion(LavidaForMaskedDiffusion):
    """LaViDa with Dream. ``generate`` takes the names of Dream's public sampler, which ``read_settings`` tells."""

    config_class = LlavaDreamConfig
    model_class = LlavaDreamModel
    sampling_settings = ("top_p", "top_k")
    _no_split_modules = ("DreamBlock", "SiglipEncoderLayer")

    def add_outer_modules(self) -> None:
        self.lm_head: nn.Module = nn.Linear(self.config.hidden_size, self.config.vocab_rows, bias=False)
        self.model.set_head(self.lm_head)

    def set_output_embeddings(self, value: nn.Module) -> None:
        self.lm_head = value
        self.model.set_head(value)

    def decoding_of(self, settings: Mapping[str, Any]) -> DecodingConfig:
        asked = drop_unused_settings(settings, keep=self.sampling_settings)
        return read_settings(**{"top_k": self.config.top_k, **asked})


AutoConfig.register(LlavaDreamConfig.model_type, LlavaDreamConfig)
AutoModelForCausalLM.register(LlavaDreamConfig, LlavaDreamForMaskedDiffusion)
