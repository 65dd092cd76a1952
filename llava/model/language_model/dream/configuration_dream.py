"""Configuration of Dream (arXiv 2508.15487), with the key names of the released checkpoints' ``config.json``."""

import math
from typing import Any, ClassVar

from transformers import PretrainedConfig

from llava.model.language_model.lavida_config import check_count


class DreamConfig(PretrainedConfig):
    """Sizes, special ids and fixed choices of a Dream model; the defaults are Dream-7B's.

    Windows of attention and dropout are named in released files and do nothing there; they are kept as they are.

    Raises:
        ValueError: if a setting names an architecture that is not implemented, or sizes do not fit each other.
    """

    model_type = "dream"
    attribute_map: ClassVar[dict[str, str]] = {"max_sequence_length": "max_position_embeddings"}

    hidden_size: int = 3584
    intermediate_size: int = 18944
    num_hidden_layers: int = 28
    num_attention_heads: int = 28
    num_key_value_heads: int | None = 4
    vocab_size: int = 152064
    max_position_embeddings: int = 131072
    rms_norm_eps: float = 1e-6
    rope_theta: float = 1e6
    rope_scaling: dict | None = None
    hidden_act: str = "silu"
    tie_word_embeddings: bool = False
    initializer_range: float = 0.02
    top_k: int | None = 50
    """What ``generate`` leaves to choose from unless it is told otherwise; 50 is what transformers put where a file is
    silent, and released scores were made so."""

    mask_token_id: int = 151666
    bos_token_id: int | None = 151665
    eos_token_id: int | list[int] | None = 151643
    pad_token_id: int | None = 151643
    start_header_id: int = 151644
    end_header_id: int = 198
    """A line break: what stands between ``start_header_id`` and it says whose turn it is."""
    eot_token_id: int = 151645
    infill_token_id: int | None = None

    @property
    def key_value_heads(self) -> int:
        """Heads of keys and values, which the heads of queries share."""
        return self.num_key_value_heads or self.num_attention_heads

    def __post_init__(self, **kwargs: Any) -> None:
        super().__post_init__(**kwargs)
        _check_architecture(self)


_ONLY_CHOICE = {"hidden_act": "silu", "rope_scaling": None, "tie_word_embeddings": False}


def _check_architecture(config: DreamConfig) -> None:
    for name, choice in _ONLY_CHOICE.items():
        if getattr(config, name) != choice:
            raise ValueError(f"Dream config: {name}={getattr(config, name)!r} is not supported; use {choice!r}")
    for name in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "key_value_heads"):
        check_count(config, name)
    for name in ("vocab_size", "max_position_embeddings"):
        check_count(config, name)
    for name in ("rms_norm_eps", "rope_theta", "initializer_range"):
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
            raise ValueError(f"config: {name} must be a positive number, got {value!r}")
    width, heads, groups = config.hidden_size, config.num_attention_heads, config.key_value_heads
    if width % heads or (width // heads) % 2:
        raise ValueError(
            f"Dream config: hidden_size={width} must split into num_attention_heads={heads} heads of even width"
        )
    if heads % groups:
        raise ValueError(
            f"Dream config: num_attention_heads={heads} must be a multiple of num_key_value_heads={groups}"
        )
    if config.pad_token_id is not None and not 0 <= config.pad_token_id < config.vocab_size:
        raise ValueError(
            f"Dream config: pad_token_id={config.pad_token_id} has no row in a vocabulary of {config.vocab_size}"
        )
