"""Configuration of LLaDA (arXiv 2502.09992), with the key names of the released checkpoints' ``config.json``."""

import math
from typing import Any, ClassVar

from transformers import PretrainedConfig

from llava.model.language_model.lavida_config import check_count


class LLaDAConfig(PretrainedConfig):
    """Sizes, special ids and fixed choices of a LLaDA model; the defaults are LLaDA-8B's.

    Only the architecture of the released models exists here, so a config that asks for another one (grouped keys,
    biases, ALiBi, another norm or activation) is refused rather than loaded as something else.

    Raises:
        ValueError: if a setting names an architecture that is not implemented, or sizes do not fit each other.
    """

    model_type = "llada"
    attribute_map: ClassVar[dict[str, str]] = {
        "hidden_size": "d_model",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
        "intermediate_size": "mlp_hidden_size",
        "max_position_embeddings": "max_sequence_length",
    }

    d_model: int = 4096
    n_heads: int = 32
    n_kv_heads: int | None = None
    n_layers: int = 32
    mlp_hidden_size: int = 12288
    vocab_size: int = 126464
    embedding_size: int | None = None
    rms_norm_eps: float = 1e-5
    rope_theta: float = 500000.0
    weight_tying: bool = False
    max_sequence_length: int = 4096
    initializer_range: float = 0.02
    answer_places: int = 0
    """Places from an answer's beginning that have an embedding of their own, for small models that copy what they read
    one character after the other; released ones have none."""

    activation_type: str = "silu"
    block_type: str = "llama"
    layer_norm_type: str = "rms"
    rope: bool = True
    alibi: bool = False
    include_bias: bool = False
    include_qkv_bias: bool = False
    attention_layer_norm: bool = False
    scale_logits: bool = False
    input_emb_norm: bool = False

    mask_token_id: int = 126336
    bos_token_id: int | None = 126080
    eos_token_id: int | list[int] | None = 126081
    pad_token_id: int | None = 126081
    start_header_id: int = 126346
    end_header_id: int = 126347
    eot_token_id: int = 126348
    infill_token_id: int | None = 126085

    @property
    def key_value_heads(self) -> int:
        """Heads of keys and values: as many as of queries."""
        return self.n_heads

    @property
    def vocab_rows(self) -> int:
        """Rows of the embedding, of which the last may stand for no word."""
        return self.embedding_size or self.vocab_size

    def resize_vocabulary(self, rows: int) -> None:
        """Take note of an embedding that has other ``rows`` now."""
        self.vocab_size = self.embedding_size = rows

    def __post_init__(self, **kwargs: Any) -> None:
        if self.embedding_size is None:
            self.embedding_size = self.vocab_size
        super().__post_init__(**kwargs)
        _check_architecture(self)


_ONLY_CHOICE = {
    "activation_type": ("silu", "swiglu"),
    "block_type": ("llama",),
    "layer_norm_type": ("rms",),
    "rope": (True,),
    "alibi": (False,),
    "include_bias": (False,),
    "include_qkv_bias": (False,),
    "attention_layer_norm": (False,),
    "scale_logits": (False,),
    "input_emb_norm": (False,),
}


def _check_architecture(config: LLaDAConfig) -> None:
    for name, choices in _ONLY_CHOICE.items():
        if getattr(config, name) not in choices:
            raise ValueError(f"LLaDA config: {name}={getattr(config, name)!r} is not supported; use {choices[0]!r}")
    for name in ("d_model", "n_heads", "n_layers", "mlp_hidden_size", "vocab_size", "max_sequence_length"):
        check_count(config, name)
    check_count(config, "answer_places", least=0)
    for name in ("rms_norm_eps", "rope_theta", "initializer_range"):
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ValueError(f"config: {name} must be a positive number, got {value!r}")
    if config.n_kv_heads not in (None, config.n_heads):
        raise ValueError(f"LLaDA config: n_kv_heads={config.n_kv_heads} is not supported; it must equal n_heads")
    if config.d_model % config.n_heads or (config.d_model // config.n_heads) % 2:
        raise ValueError(
            f"LLaDA config: d_model={config.d_model} must split into n_heads={config.n_heads} heads of even width"
        )
    if config.embedding_size is None or config.embedding_size < config.vocab_size:
        raise ValueError(
            f"LLaDA config: embedding_size={config.embedding_size} is smaller than vocab_size={config.vocab_size}"
        )
