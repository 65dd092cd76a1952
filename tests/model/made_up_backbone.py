"""A third backbone, made up, and written from docs/backbones.md alone: layer norms, one head of keys and values for all
queries, a plain MLP, tied embeddings."""

from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn.functional import gelu
from transformers import PretrainedConfig

from llava.conversation import Conversation
from llava.model.language_model.lavida import LavidaForMaskedDiffusion, LavidaModel
from llava.model.language_model.lavida_config import LavidaConfig
from llava.model.language_model.transformer import Projections, TransformerBackbone, TransformerBlock


class MadeUpConfig(PretrainedConfig):
    model_type = "made_up"
    attribute_map: ClassVar[dict[str, str]] = {"hidden_size": "width", "num_hidden_layers": "depth"}

    width: int = 48
    depth: int = 2
    num_attention_heads: int = 4
    key_value_heads: int = 1
    intermediate_size: int = 56
    vocab_size: int = 512
    max_sequence_length: int = 2048
    rope_theta: float = 1000.0
    initializer_range: float = 0.2
    mask_token_id: int = 500
    eos_token_id: int | list[int] | None = 510
    pad_token_id: int | None = 510
    bos_token_id: int | None = None
    eot_token_id: int = 511
    start_header_id: int = 508
    end_header_id: int = 507
    infill_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        if self.width % self.num_attention_heads:
            raise ValueError(f"width={self.width} must be a multiple of num_attention_heads={self.num_attention_heads}")


class LlavaMadeUpConfig(MadeUpConfig, LavidaConfig):
    model_type = "llava_made_up"
    conversation: ClassVar[Conversation] = Conversation(begin="", header="<|im_start|>{role}:", sep="<|im_end|>")
    special_words: ClassVar[Mapping[str, str]] = {
        "mask_token_id": "<|mask|>",
        "start_header_id": "<|im_start|>",
        "end_header_id": ":",
        "eot_token_id": "<|im_end|>",
    }
    tensor_names: ClassVar[Mapping[str, str]] = {"embeddings": "model.words.", "output head": "model.words."}


class MadeUpBlock(TransformerBlock):
    def __init__(self, config: MadeUpConfig) -> None:
        super().__init__()
        width = config.width
        self.num_heads, self.num_groups = config.num_attention_heads, config.key_value_heads
        size = width // self.num_heads * self.num_groups
        self.ask, self.look, self.say = nn.Linear(width, width), nn.Linear(width, size), nn.Linear(width, size)
        self.mix = nn.Linear(width, width)
        self.before, self.between = nn.LayerNorm(width), nn.LayerNorm(width)
        self.widen = nn.Linear(width, config.intermediate_size)
        self.narrow = nn.Linear(config.intermediate_size, width)

    @property
    def projections(self) -> Projections:
        return Projections(self.ask, self.look, self.say, self.mix)

    @property
    def attention_norm(self) -> nn.Module:
        return self.before

    @property
    def mlp_norm(self) -> nn.Module:
        return self.between

    def feed_forward(self, normed: Tensor) -> Tensor:
        return self.narrow(gelu(self.widen(normed)))


class MadeUpModel(TransformerBackbone):
    def __init__(self, config: MadeUpConfig) -> None:
        super().__init__()
        self.config = config
        self.words = nn.Embedding(config.vocab_size, config.width)
        self.stack = nn.ModuleList(MadeUpBlock(config) for _ in range(config.depth))
        self.last = nn.LayerNorm(config.width)

    @property
    def blocks(self) -> list[MadeUpBlock]:
        return list(self.stack)  # type: ignore[arg-type]

    @property
    def final_norm(self) -> nn.Module:
        return self.last

    @property
    def embedding(self) -> nn.Module:
        return self.words

    def set_embedding(self, value: nn.Module) -> None:
        self.words = value

    @property
    def head(self) -> None:
        return None

    def set_head(self, value: nn.Module) -> None:
        raise ValueError("the embedding is the head")

    @property
    def head_weight(self) -> Tensor:
        return self.words.weight

    def embed_tokens(self, ids: Tensor) -> Tensor:
        return self.words(ids)


class LlavaMadeUpModel(MadeUpModel, LavidaModel):
    def __init__(self, config: LlavaMadeUpConfig) -> None:
        super().__init__(config)
        self.initialize_vision_modules(config)


class LlavaMadeUpForMaskedDiffusion(LavidaForMaskedDiffusion):
    config_class = LlavaMadeUpConfig
    model_class = LlavaMadeUpModel
    _no_split_modules = ("MadeUpBlock", "SiglipEncoderLayer")
